import pytest

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks import rest
from include.mlflow_provider.hooks.client import MLflowClientHook

from ..scripted import Answer

NONE = Answer(404, '{"error_code": "RESOURCE_DOES_NOT_EXIST"}')
TAKEN = Answer(400, '{"error_code": "RESOURCE_ALREADY_EXISTS"}')
MODEL = Answer(200, '{"registered_model": {"name": "a"}}')
EXPERIMENT = Answer(200, '{"experiment": {"experiment_id": "7"}}')
TROUBLE = [Answer(400, "QueuePool limit"), Answer(500), Answer(seconds=60)]


def create_model():
    return MLflowClientHook(mlflow_conn_id="scripted").create_registered_model("a", exist_ok=True)


def create_experiment():
    return MLflowClientHook(mlflow_conn_id="scripted").create_experiment("a", exist_ok=True)


def test_a_model_that_exists_is_an_error_or_returned_as_it_is(hook, name):
    hook.create_registered_model(name, description="first")
    with pytest.raises(MLflowAPIError, match="RESOURCE_ALREADY_EXISTS"):
        hook.create_registered_model(name)
    assert hook.create_registered_model(name, description="second", exist_ok=True)["description"] == "first"


@pytest.mark.parametrize("answer", TROUBLE)
@pytest.mark.parametrize(
    ("create", "found", "expected"), [(create_model, MODEL, {"name": "a"}), (create_experiment, EXPERIMENT, "7")]
)
def test_what_exists_is_found_whatever_became_of_the_request_to_create_it(scripted, answer, create, found, expected):
    server = scripted(NONE, answer, found, extra={"timeout": 0.2})
    assert create() == expected
    assert [request[0] for request in server.requests] == ["GET", "POST", "GET"]


def test_a_model_that_exists_needs_no_permission_to_create_one(scripted):
    server = scripted(MODEL, Answer(403))
    assert create_model() == {"name": "a"}
    assert len(server.requests) == 1


@pytest.mark.parametrize("follow_up", TROUBLE)
def test_a_model_that_exists_for_sure_is_asked_for_again(scripted, monkeypatch, follow_up):
    monkeypatch.setattr(rest, "RETRY_BUDGET", 0.0)
    scripted(NONE, TAKEN, follow_up, MODEL, extra={"timeout": 0.2})
    assert create_model() == {"name": "a"}


@pytest.mark.parametrize(
    ("answer", "error"), [(Answer(400, "QueuePool limit"), "QueuePool limit"), (TAKEN, "not yours")]
)
@pytest.mark.parametrize("create", [create_model, create_experiment])
def test_an_error_stays_if_the_server_does_not_show_what_may_exist(scripted, create, answer, error):
    scripted(NONE, answer, Answer(403, "not yours"))
    with pytest.raises(MLflowAPIError, match=error):
        create()


DATABASE = "(sqlite3.OperationalError) database is locked (Background on this error at: https://sqlalche.me/e/20/e3q8)"


@pytest.mark.parametrize("status", [400, 503])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_the_database_took_back_is_sent_again(scripted, method, status):
    server = scripted(Answer(status, DATABASE), Answer(status, DATABASE), Answer(200, "{}"))
    assert MLflowClientHook(mlflow_conn_id="scripted").call(method, "api/2.0/mlflow/registered-models/alias") == {}
    assert len(server.requests) == 3


def test_a_database_that_keeps_failing_is_reported(scripted):
    server = scripted(Answer(400, DATABASE))
    with pytest.raises(MLflowAPIError, match="database is locked"):
        MLflowClientHook(mlflow_conn_id="scripted").set_registered_model_alias("a", "b", 1)
    assert len(server.requests) == 1 + rest.RETRIES
