from types import SimpleNamespace
from urllib.parse import quote

import pytest

from include.mlflow_provider.links import MLflowLink
from include.mlflow_provider.operators import registry
from include.mlflow_provider.operators.deployment import CreateDeploymentOperator
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator

from .conftest import LENGTHS

CONTEXT = {"ti": SimpleNamespace(bundle_instance=None)}


def link_of(operator):
    """The URL of the task's link, requested as Airflow does when a task ends."""
    (link,) = operator.operator_extra_links
    assert isinstance(link, MLflowLink)
    return link.get_link(operator, ti_key=None)


@pytest.mark.parametrize(
    ("operator_class", "arguments", "page"),
    [
        (registry.CreateRegisteredModelOperator, {"exist_ok": True}, "models/{name}"),
        (registry.GetRegisteredModelOperator, {}, "models/{name}"),
        (registry.GetLatestModelVersionsOperator, {}, "models/{name}"),
        (registry.CreateModelVersionOperator, {"source": "{uri}"}, "models/{name}/versions/2"),
        (registry.GetModelVersionOperator, {"version": "1"}, "models/{name}/versions/1"),
        (registry.TransitionModelVersionStageOperator, {"version": 1, "stage": "Staging"}, "models/{name}/versions/1"),
        (registry.SetRegisteredModelAliasOperator, {"alias": "a", "version": "1"}, "models/{name}/versions/1"),
        (registry.DeleteRegisteredModelAliasOperator, {"alias": "a"}, "models/{name}"),
        (registry.SetModelVersionTagOperator, {"version": 1, "key": "a", "value": 1}, "models/{name}/versions/1"),
        (registry.SearchModelVersionsOperator, {}, "models/{name}"),
        (registry.PruneModelVersionsOperator, {"keep": 1}, "models/{name}"),
        (registry.DeleteModelVersionOperator, {"version": "1"}, "models/{name}"),
        (registry.DeleteRegisteredModelOperator, {}, "models"),
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
    operator = registry.GetRegisteredModelOperator(task_id="task", name=name)
    with pytest.raises(Exception, match="RESOURCE_DOES_NOT_EXIST"):
        operator.execute({})
    assert link_of(operator) == ""


@pytest.mark.parametrize(
    ("model_uri", "page"),
    [
        ("models:/{name}@tail", "models/{page}/versions/1"),
        ("models:/{name}/1", "models/{page}/versions/1"),
        ("{lengths.uri}", "experiments/{experiment_id}/models/{lengths.model_id}"),
        ("runs:/{lengths.run_id}/model", "experiments/{experiment_id}/runs/{lengths.run_id}"),
        ("{folder}", ""),  # which MLflow does not know
    ],
)
def test_a_prediction_leads_to_the_page_of_its_model(
    hook, name, version, lengths, lengths_in_s3, experiment_id, environments, model_uri, page
):
    hook.set_registered_model_alias(name, "tail", "1")
    names = {"name": name, "page": quote(name), "lengths": lengths, "experiment_id": experiment_id}
    names["folder"] = lengths_in_s3
    operator = ModelLoadAndPredictOperator(
        task_id="task", model_uri=model_uri.format(**names), data=LENGTHS, venv_cache_path=environments
    )
    assert operator.execute(CONTEXT) == pytest.approx([130.1, 129.0, 133.0])
    assert link_of(operator) == (page and f"{hook.base_url}/#/{page.format(**names)}")


def test_a_deployment_leads_to_the_page_of_its_model(hook, serving, name, version):
    operator = CreateDeploymentOperator(
        task_id="task", name=name, model_uri=f"models:/{name}/1", target_uri=serving, flavor="python_function"
    )
    operator.execute({})
    assert link_of(operator) == f"{hook.base_url}/#/models/{quote(name)}/versions/1"
