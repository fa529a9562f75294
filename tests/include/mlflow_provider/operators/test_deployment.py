import json

import pytest

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.deployment import MLflowDeploymentHook
from include.mlflow_provider.operators.deployment import CreateDeploymentOperator, PredictOperator

from ..scripted import Answer

TABLE = {"dataframe_split": {"columns": ["head", "tail"], "data": [[94.1, 36.0], [92.5, 36.5]]}}


def run(operator_class, **arguments):
    operator = operator_class(task_id="task", **arguments)
    operator.render_template_fields({"params": {"target": "serving", "head": 1.5}})
    return operator.execute({})


def test_a_model_is_deployed_and_predicts(serving, name, lengths):
    settings = {"flavor": "python_function", "config": {"workers": 1}, "endpoint": "here"}
    created = run(
        CreateDeploymentOperator, name=name, model_uri=lengths.uri, target_uri="{{ params.target }}", **settings
    )
    assert created == {"name": name, **settings}
    answer = run(PredictOperator, deployment_name=name, inputs=TABLE, target_uri=serving)
    assert json.loads(answer)["predictions"] == pytest.approx([130.1, 129.0])
    with pytest.raises(ValueError, match="already"):
        run(CreateDeploymentOperator, name=name, model_uri=lengths.uri, target_uri=serving)


def test_a_model_that_mlflow_does_not_show_is_not_deployed(scripted, monkeypatch):
    deployed = []
    monkeypatch.setattr(MLflowDeploymentHook, "create_deployment", lambda hook, *arguments: deployed.append(arguments))
    scripted(Answer(403))
    with pytest.raises(MLflowAPIError, match="403"):
        run(
            CreateDeploymentOperator, mlflow_conn_id="scripted", name="x", model_uri="models:/x@a", target_uri="serving"
        )
    assert not deployed


def test_the_login_of_the_target_is_no_attribute_of_the_operator(connect):
    connect("target", conn_type="aws", login="key", password="s3cret")
    operator = CreateDeploymentOperator(
        task_id="task", name="x", model_uri="models:/x/1", target_uri="sagemaker", target_conn_id="target"
    )
    assert operator.hook.aws_conn_dict()["AWS_SECRET_ACCESS_KEY"] == "s3cret"
    assert "s3cret" not in str(vars(operator))
