"""What a DAG passes arrives as the text or number that MLflow wants, or is rejected before anything is sent."""

import math
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.client import MLflowClientHook

from ..scripted import Answer

TAGS = {"a": "s", "n": 1, "f": 1.5, "b": True, "none": None, "d": {"x": 1}, "np": np.int64(3), 7: "key", "z": "last"}
AS_TEXT = {str(key): str(value) for key, value in TAGS.items()}


def pairs(items):
    return {item["key"]: item["value"] for item in items}


@pytest.mark.parametrize("form", ["dict", "list"])
def test_tags_that_are_not_text_arrive_as_text_and_none_is_lost(hook, name, lengths, experiment_id, form):
    tags = TAGS if form == "dict" else [{"key": key, "value": value} for key, value in TAGS.items()]
    assert pairs(hook.create_registered_model(name, tags=tags)["tags"]) == AS_TEXT
    assert pairs(hook.create_model_version(name, lengths.uri, tags=tags)["tags"]) == AS_TEXT
    run = hook.create_run(experiment_id, tags=tags)
    assert pairs(run["data"]["tags"]).items() >= AS_TEXT.items()
    hook.log_batch(run["info"]["run_id"], tags=[{"key": "later", "value": 2}], params=TAGS)
    data = hook.get_run(run["info"]["run_id"])["data"]
    assert pairs(data["tags"])["later"] == "2"
    assert pairs(data["params"]) == AS_TEXT


def test_single_tags_names_and_descriptions_arrive_as_text(hook, lengths, name):
    number = int(name[-8:], 16)
    assert hook.create_registered_model(number, description=1.5)["description"] == "1.5"
    hook.create_model_version(str(number), lengths.uri, description=3)
    hook.set_registered_model_tag(number, 1, 2)
    hook.set_model_version_tag(number, np.int64(1), 1, None)
    hook.set_registered_model_alias(number, 5, np.int64(1))
    assert hook.get_registered_model(number)["tags"] == [{"key": "1", "value": "2"}]
    found = hook.get_model_version_by_alias(number, 5)
    assert (found["description"], found["tags"]) == ("3", [{"key": "1", "value": "None"}])
    experiment_id = hook.create_experiment(-number)
    assert hook.create_run(int(experiment_id), run_name=5)["info"]["run_name"] == "5"
    assert len(list(hook.search_runs(int(experiment_id)))) == 1
    assert hook.get_experiment_by_name(-number)["experiment_id"] == experiment_id


def test_a_single_stage_or_experiment_stands_for_a_list_of_one(hook, name, version, experiment_id):
    hook.transition_model_version_stage(name, 1, "Production")
    assert [item["version"] for item in hook.get_latest_versions(name, "Production")] == ["1"]
    assert list(hook.search_runs(experiment_id)) == list(hook.search_runs([experiment_id]))


def test_numbers_of_any_kind_arrive(hook, run_id):
    values = [1, np.float32(0.5), np.int64(2), Decimal("2.5"), "3.5", True, np.bool_(False), np.array(4.0)]
    steps = [np.int64(0), 1.0, "2", np.float64(3), 4, Decimal(5), 6, 7]
    metrics = [{"key": "m", "value": v, "step": s, "timestamp": 1e12} for v, s in zip(values, steps, strict=True)]
    hook.log_batch(run_id, metrics)
    history = list(hook.get_metric_history(run_id, "m"))
    assert {item["timestamp"] for item in history} == {10**12}
    found = {item["step"]: item["value"] for item in history}
    assert found == {0: 1.0, 1: 0.5, 2: 2.0, 3: 2.5, 4: 3.5, 5: 1.0, 6: 0.0, 7: 4.0}
    hook.log_batch(run_id, [{"key": "n", "value": 1, "step": None}])
    assert next(hook.get_metric_history(run_id, "n"))["step"] == 0
    assert hook.set_terminated(run_id, end_time=np.int64(5))["end_time"] == 5


@pytest.fixture
def server(scripted):
    return scripted(Answer())


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda hook: hook.create_registered_model("a", tags="text"), r"tags is 'text': give \{key: value\} or"),
        (lambda hook: hook.create_registered_model("a", tags=[("a", "b")]), r"tags is .*give \{key: value\} or"),
        (lambda hook: hook.create_registered_model("a", tags=[{"key": "a"}]), r"tags is .*give \{key: value\} or"),
        (lambda hook: hook.create_registered_model("a", tags={"": "b"}), "the key of a tag is ''"),
        (lambda hook: hook.create_registered_model(None), "the model is None: give a text or a number"),
        (lambda hook: hook.create_registered_model({"name": "a"}), "the model is"),
        (lambda hook: hook.create_model_version("a", ""), "source is ''"),
        (lambda hook: hook.get_model_version("a", None), "the version is None"),
        (lambda hook: hook.set_registered_model_alias("a", "a b/c", 1), "'a b/c' cannot be an alias"),
        (lambda hook: hook.set_registered_model_alias("a", "v3", 1), "'v3' cannot be an alias"),
        (lambda hook: hook.transition_model_version_stage("a", 1, "Prod"), "'Prod' is not a stage"),
        (lambda hook: hook.log_batch("r", [{"key": "a", "value": None}]), "metric 'a' has the value None: give a num"),
        (lambda hook: hook.log_batch("r", [{"key": "a", "value": "high"}]), "metric 'a' has the value 'high'"),
        (lambda hook: hook.log_batch("r", [{"key": "a", "value": pd.NA}]), "metric 'a' has the value <NA>"),
        (lambda hook: hook.log_batch("r", [{"key": "a", "value": 10**400}]), "metric 'a' has the value 1000"),
        (lambda hook: hook.log_batch("r", [{"value": 1}]), "is not a metric: give"),
        (lambda hook: hook.log_batch("r", {"a": 1.0}), "metrics is .*: give a list"),
        (lambda hook: hook.log_batch("r", [{"key": "a", "value": 1, "step": 1.5}]), "step of metric 'a' is 1.5"),
        (lambda hook: hook.log_batch("r", [{"key": "a", "value": 1, "step": 2**63}]), "step of metric 'a' is 9"),
        (lambda hook: hook.create_run("1", start_time=1.5), "start_time is 1.5: give a whole number, in ms since 1970"),
        (lambda hook: hook.set_terminated("r", end_time=datetime.now(UTC)), "end_time is .*in ms since 1970"),
        (lambda hook: hook.search_runs(None), "experiment_ids is None: give a list"),
        (lambda hook: hook.call("POST", "api", {"value": np.int64(3)}), "Nothing was sent: check the arguments"),
        (lambda hook: hook.run("api", request_params={"value": {1, 2}}), "Nothing was sent: check the arguments"),
        (lambda hook: hook.run("api", request_params={"value": math.nan}), "Nothing was sent: check the arguments"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_rejected_in_words_and_nothing_is_sent(server, call, complaint):
    with pytest.raises(MLflowError, match=complaint):
        call(MLflowClientHook(mlflow_conn_id="scripted"))
    assert server.requests == []
