import math

import pytest

NOW = 1_700_000_000_000  # ms since 1970


@pytest.fixture
def model(hook, experiment_id):
    """The id of a logged model that no run has made."""
    body = {"experiment_id": experiment_id, "name": "model"}
    return hook.call("POST", "api/2.0/mlflow/logged-models", body)["model"]["info"]["model_id"]


@pytest.fixture
def model_version(hook, name, model, run_id):
    hook.create_registered_model(name)
    return hook.create_model_version(name, f"models:/{model}", run_id)


@pytest.fixture
def log(hook, model, run_id):
    """Log a value of the metric ``rmse`` for the model."""

    def measure(value, timestamp=NOW, step=0, run_id=run_id):
        body = {"run_id": run_id, "model_id": model, "key": "rmse", "timestamp": timestamp, "step": step}
        hook.call("POST", "api/2.0/mlflow/runs/log-metric", {**body, "value": value})

    return measure


def test_the_last_value_of_the_run_counts_if_the_version_names_no_model(hook, add_version):
    version = add_version(rmse=1.26)
    assert hook.get_model_version_metric(version, "rmse") == 1.26
    hook.log_batch(version["run_id"], [{"key": "rmse", "value": 1.3, "step": 1}])
    assert hook.get_model_version_metric(version, "rmse") == 1.3


def test_a_metric_that_was_not_logged_is_none(hook, add_version, model_version):
    assert hook.get_model_version_metric(add_version(rmse=1.26), "mae") is None
    assert hook.get_model_version_metric(model_version, "rmse") is None


def test_a_version_without_run_and_model_has_no_metric(hook, name):
    hook.create_registered_model(name)
    version = hook.create_model_version(name, "s3://nowhere/model")
    assert hook.get_model_version_metric(version, "rmse") is None


def test_a_metric_of_the_model_counts_before_that_of_its_run(hook, model_version, log, run_id):
    log(1.26)
    hook.log_batch(run_id, [{"key": "rmse", "value": 9.0, "step": 7}])
    assert hook.get_model_version_metric(model_version, "rmse") == 1.26


def test_the_metric_that_another_run_measured_of_the_model_counts(hook, model_version, log, experiment_id):
    log(1.26, step=100)
    log(1.4, timestamp=NOW + 1, run_id=hook.create_run(experiment_id)["info"]["run_id"])
    assert hook.get_model_version_metric(model_version, "rmse") == 1.4


def test_of_values_of_one_moment_the_last_step_counts(hook, model_version, log):
    log(1.4, step=2)
    log(1.3, step=10)
    log(1.5, step=1)
    assert hook.get_model_version_metric(model_version, "rmse") == 1.3


def test_a_metric_that_is_no_number_is_not_taken_for_zero(hook, model_version, log):
    log("NaN")
    assert math.isnan(hook.get_model_version_metric(model_version, "rmse"))
    log(0.0, step=1)
    assert hook.get_model_version_metric(model_version, "rmse") == 0.0


def test_a_metric_of_a_run_that_is_no_number_is_so(hook, add_version):
    assert math.isnan(hook.get_model_version_metric(add_version(rmse=math.nan), "rmse"))
    assert hook.get_model_version_metric(add_version(rmse=0.0), "rmse") == 0.0
