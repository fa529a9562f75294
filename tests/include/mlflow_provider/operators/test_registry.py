import json
import math

import mlflow
import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowError
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, ORIGIN_TAG, MLflowPyfuncHook
from include.mlflow_provider.operators.registry import (
    CopyModelVersionOperator,
    CreateModelVersionOperator,
    CreateRegisteredModelOperator,
    DeleteModelVersionOperator,
    DeleteRegisteredModelAliasOperator,
    DeleteRegisteredModelOperator,
    GetLatestModelVersionsOperator,
    PruneModelVersionsOperator,
    SearchModelVersionsOperator,
    SetModelVersionTagOperator,
    SetRegisteredModelAliasOperator,
    TransitionModelVersionStageOperator,
    ValidateModelVersionOperator,
)

TAGS = [{"key": "data", "value": "possum"}]


def run(operator_class, **arguments):
    return operator_class(task_id="task", **arguments).execute({})


@pytest.fixture
def model(hook, name):
    hook.create_registered_model(name)
    return name


def test_a_model_is_created_with_tags_and_description(services, name):
    answer = run(CreateRegisteredModelOperator, name=name, tags=TAGS, description="tails")["registered_model"]
    assert (answer["name"], answer["tags"], answer["description"]) == (name, TAGS, "tails")


def test_a_version_is_registered_and_loads(hook, model, lengths):
    fields = {"run_id": lengths.run_id, "tags": TAGS, "description": "first", "run_link": "http://elsewhere/1"}
    answer = run(CreateModelVersionOperator, name=model, source=lengths.uri, **fields)["model_version"]
    assert answer.items() >= {"version": "1", **fields}.items()
    with hook.environment():
        assert mlflow.pyfunc.load_model(f"models:/{model}/1").predict({"head": [1.5], "tail": [2.0]}) == [3.5]


def test_templates_are_rendered_before_the_version_is_looked_for(hook, model, lengths):
    templates = {"source": "models:/{{ params.model_id }}", "run_id": "{{ params.run_id }}"}
    operator = CreateModelVersionOperator(task_id="task", name="{{ params.name }}", **templates, exist_ok=True)
    params = {"name": model, "model_id": lengths.model_id, "run_id": lengths.run_id}
    operator.render_template_fields({"params": params})
    assert operator.execute({}) == operator.execute({})


def test_a_version_moves_to_a_stage_and_gets_its_alias(hook, model, lengths):
    for _ in range(2):
        hook.create_model_version(model, lengths.uri)
    run(TransitionModelVersionStageOperator, name=model, version="1", stage="Staging")
    assert "aliases" not in hook.get_model_version(model, 1)
    how = {"stage": "Staging", "archive_existing_versions": True, "alias": "challenger"}
    answer = run(TransitionModelVersionStageOperator, name=model, version="2", **how)["model_version"]
    assert (answer["version"], answer["current_stage"]) == ("2", "Staging")
    assert hook.get_model_version_by_alias(model, "challenger")["version"] == "2"
    assert hook.get_model_version(model, 1)["current_stage"] == "Archived"


@pytest.mark.parametrize("wrong", [{"alias": "a b/c"}, {"alias": "latest"}, {"alias": "V3"}, {"stage": "Live"}])
def test_nothing_moves_if_stage_or_alias_cannot_be(hook, model, lengths, wrong):
    hook.create_model_version(model, lengths.uri)
    arguments = {"name": model, "version": "1", "stage": "Production", "alias": "champion", **wrong}
    with pytest.raises(MLflowError, match=r"cannot be an alias|is not a stage"):
        run(TransitionModelVersionStageOperator, **arguments)
    assert hook.get_model_version(model, 1)["current_stage"] == "None"
    assert "aliases" not in hook.get_model_version(model, 1)


@pytest.mark.parametrize(
    ("operator_class", "which"), [(DeleteRegisteredModelOperator, {}), (DeleteModelVersionOperator, {"version": "7"})]
)
def test_a_deletion_that_runs_again_fails_unless_what_it_deletes_may_be_missing(services, name, operator_class, which):
    run(operator_class, name=name, **which, missing_ok=True)
    with pytest.raises(MLflowAPIError, match="RESOURCE_DOES_NOT_EXIST"):
        run(operator_class, name=name, **which)


def test_the_latest_versions_are_fetched_by_stage(hook, model, lengths):
    hook.create_model_version(model, lengths.uri)
    hook.transition_model_version_stage(model, 1, "Production")
    hook.create_model_version(model, lengths.uri)
    everything = run(GetLatestModelVersionsOperator, name=model)["model_versions"]
    assert {version["version"] for version in everything} == {"1", "2"}
    in_production = run(GetLatestModelVersionsOperator, name=model, stages=["Production"])["model_versions"]
    assert [version["version"] for version in in_production] == ["1"]


def test_without_versions_the_answer_is_empty_as_mlflows_own(hook, model):
    body = {"name": model}
    mlflows = hook.call("POST", "api/2.0/mlflow/registered-models/get-latest-versions", body)
    assert run(GetLatestModelVersionsOperator, name=model) == mlflows == {}


def test_an_alias_moves_and_goes(hook, model, lengths):
    for _ in range(2):
        hook.create_model_version(model, lengths.uri)
    run(SetRegisteredModelAliasOperator, name=model, alias="champion", version="1")
    answer = run(SetRegisteredModelAliasOperator, name=model, alias="champion", version="2")["model_version"]
    assert (answer["version"], answer["aliases"]) == ("2", ["champion"])
    assert hook.get_model_version_by_alias(model, "champion")["version"] == "2"
    for _ in range(2):
        assert run(DeleteRegisteredModelAliasOperator, name=model, alias="champion") is None
    assert "aliases" not in hook.get_registered_model(model)


def test_versions_are_tagged_and_found_by_their_tags_newest_first(hook, model, lengths):
    for _ in range(3):
        hook.create_model_version(model, lengths.uri)
    for version in ("1", "3"):
        run(SetModelVersionTagOperator, name=model, version=version, key="rows", value=104)
    found = run(SearchModelVersionsOperator, name=model, filter_string="tags.rows = '104'")["model_versions"]
    assert [version["version"] for version in found] == ["3", "1"]
    everything = run(SearchModelVersionsOperator, name=model)["model_versions"]
    assert [version["version"] for version in everything] == ["3", "2", "1"]


def test_versions_are_searched_under_a_name_that_no_filter_can_hold(hook, name, lengths):
    name = f'{name} "quoted"'
    hook.create_registered_model(name)
    hook.create_model_version(name, lengths.uri)
    assert [version["name"] for version in run(SearchModelVersionsOperator, name=name)["model_versions"]] == [name]


def test_a_version_is_copied_once_to_another_model(hook, model, lengths):
    hook.create_model_version(model, lengths.uri, tags=TAGS)
    arguments = {"model_uri": f"models:/{model}/1", "name": f"{model} production", "exist_ok": True}
    first, again = (run(CopyModelVersionOperator, **arguments)["model_version"] for _ in range(2))
    assert first == again
    assert (first["name"], first["version"], first["tags"]) == (f"{model} production", "1", TAGS)


def test_old_versions_are_pruned_but_none_that_is_in_use(hook, model, lengths):
    for _ in range(6):
        hook.create_model_version(model, lengths.uri)
    hook.set_registered_model_alias(model, "champion", 1)
    hook.transition_model_version_stage(model, 2, "Staging")
    assert run(PruneModelVersionsOperator, name=model, keep="2", preview="True") == ["4", "3"]
    assert len(hook.search_versions_of(model)) == 6
    assert run(PruneModelVersionsOperator, name=model, keep=2) == ["4", "3"]
    assert [version["version"] for version in hook.search_versions_of(model)] == ["6", "5", "2", "1"]
    assert run(PruneModelVersionsOperator, name=model, keep=2) == []


@pytest.mark.parametrize("keep", [0, -1, "", None, 1.5, "all"])
def test_nothing_is_pruned_for_a_number_that_is_none(hook, model, lengths, keep):
    hook.create_model_version(model, lengths.uri)
    with pytest.raises(MLflowError, match=r"keep is .*: give a whole number"):
        run(PruneModelVersionsOperator, name=model, keep=keep)
    assert len(hook.search_versions_of(model)) == 1


@pytest.fixture
def second(services, connect):
    """The id of another connection: a server of its own, for all that the operator knows."""
    connect("second", **json.loads(services["AIRFLOW_CONN_MLFLOW_DEFAULT"]))
    return "second"


def test_a_version_of_another_server_is_copied_once_with_its_files(hook, model, second, lengths, tmp_path):
    hook.create_model_version(model, lengths.uri, tags=TAGS, description="first")
    copied = {"source_conn_id": second, "model_uri": f"models:/{model}/1", "name": f"{model} production"}
    first, again = (run(CopyModelVersionOperator, **copied, exist_ok=True)["model_version"] for _ in range(2))
    assert (first["version"], again["version"], first["description"]) == ("1", "1", "first")
    tags = {tag["key"]: tag["value"] for tag in first["tags"]}
    pyfunc = MLflowPyfuncHook()
    assert tags.items() >= {"data": "possum", HASH_TAG: pyfunc.hash_model(lengths.uri)}.items()
    assert tags[ORIGIN_TAG] == hook.server.page("models", model, "versions", "1")
    folders = [pyfunc.get_model_artifact_uri(f"models:/{name}/1") for name in (model, f"{model} production")]
    assert folders[0] != folders[1]
    with hook.environment():
        assert mlflow.pyfunc.load_model(f"models:/{model} production/1").predict({"head": [1.5], "tail": [2.0]}) == [
            3.5
        ]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_copy_may_have_other_tags_than_the_original(hook, model, second, lengths, elsewhere):
    hook.create_model_version(model, lengths.uri, tags=TAGS)
    copied = {"source_conn_id": second} if elsewhere else {}
    copied |= {"model_uri": f"models:/{model}/1", "name": f"{model} production", "tags": {"released": "yes"}}
    version = run(CopyModelVersionOperator, **copied)["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags.keys() - {HASH_TAG, ORIGIN_TAG} == {"released"}


def test_a_version_whose_files_changed_on_the_way_is_not_registered(hook, model, second, lengths, monkeypatch):
    hook.create_model_version(model, lengths.uri)
    upload = MLflowPyfuncHook._upload

    def damage(self, files, run_id):
        (files / "MLmodel").write_text("other")
        upload(self, files, run_id)

    monkeypatch.setattr(MLflowPyfuncHook, "_upload", damage)
    copied = {"source_conn_id": second, "model_uri": f"models:/{model}/1", "name": f"{model} production"}
    with pytest.raises(MLflowError, match=r"arrived at .* with the SHA-256"):
        run(CopyModelVersionOperator, **copied)
    assert hook.search_versions_of(f"{model} production") == []


def test_a_version_within_its_limits_is_returned_with_its_metrics(add_version, name):
    add_version(rmse=1.2, r2=0.6)
    answer = run(ValidateModelVersionOperator, name=name, version="1", at_most={"rmse": "1.2"}, at_least={"r2": 0.5})
    assert answer["model_version"]["version"] == "1"
    assert answer["metrics"] == {"rmse": 1.2, "r2": 0.6}


@pytest.mark.parametrize(
    "limits",
    [{"at_most": {"rmse": 1.1}}, {"at_least": {"r2": 0.7}}, {"at_most": {"mae": 1}}, {"at_most": {"not_a_number": 1}}],
)
def test_a_version_beyond_a_limit_or_without_the_metric_fails_the_task_for_good(add_version, name, limits):
    add_version(rmse=1.2, r2=0.6, not_a_number=math.nan)
    with pytest.raises(AirflowFailException, match=r"Version 1 of .* wanted: \w+ at (most|least) "):
        run(ValidateModelVersionOperator, name=name, version="1", **limits)
