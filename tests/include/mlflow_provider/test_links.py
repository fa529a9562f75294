from __future__ import annotations

from urllib.parse import quote

import pytest

from include.mlflow_provider.links import MLflowLink
from include.mlflow_provider.operators.registry import (
    CreateModelVersionOperator,
    CreateRegisteredModelOperator,
    DeleteModelVersionOperator,
    DeleteRegisteredModelOperator,
    GetLatestModelVersionsOperator,
    GetModelVersionOperator,
    GetRegisteredModelOperator,
    TransitionModelVersionStageOperator,
)


def link_of(operator):
    """Where the task's link leads, asked for in the way of Airflow when a task ends."""
    (link,) = operator.operator_extra_links
    assert isinstance(link, MLflowLink)
    return link.get_link(operator, ti_key=None)


@pytest.mark.parametrize(
    ("operator_class", "arguments", "page"),
    [
        (CreateRegisteredModelOperator, {"exist_ok": True}, "models/{name}"),
        (GetRegisteredModelOperator, {}, "models/{name}"),
        (GetLatestModelVersionsOperator, {}, "models/{name}"),
        (CreateModelVersionOperator, {"source": "{uri}"}, "models/{name}/versions/2"),
        (GetModelVersionOperator, {"version": "1"}, "models/{name}/versions/1"),
        (TransitionModelVersionStageOperator, {"version": "1", "stage": "Staging"}, "models/{name}/versions/1"),
        (DeleteModelVersionOperator, {"version": "1"}, "models/{name}"),
        (DeleteRegisteredModelOperator, {}, "models"),
    ],
)
def test_a_task_leads_to_the_page_of_what_it_worked_on(
    hook, name, version, lengths, connect, operator_class, arguments, page
):
    arguments = {key: lengths.uri if value == "{uri}" else value for key, value in arguments.items()}
    operator = operator_class(task_id="task", name=name, **arguments)
    assert link_of(operator) == ""
    operator.execute({})
    assert link_of(operator) == f"{hook.base_url}/#/{page.format(name=quote(name))}"


def test_a_task_that_failed_leads_nowhere(services, name):
    operator = GetRegisteredModelOperator(task_id="task", name=name)
    with pytest.raises(Exception, match="RESOURCE_DOES_NOT_EXIST"):
        operator.execute({})
    assert link_of(operator) == ""
