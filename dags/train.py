"""## Training

Chooses a model for the newest feature table that **feature_eng** published, fits it and registers it in MLflow. If an
event starts a run, and another run made a version from that table already, everything is skipped.

1. `tune` scores the candidates in parallel, each in a task and an MLflow run, by repeated cross-validation on the
   training rows, or on 20,000 of them. `select_candidate` takes the simplest one within one standard error of the best.
   If a candidate fails, the others remain. Intermediate data is in a scratch folder, which `delete_scratch` always
   removes.
2. `train_model` fits the winner on all training rows, or on `max_training_rows` of them, with prediction intervals,
   scores it on the holdout rows and logs it to MLflow as a run of the candidate's name.
3. `register_model` creates a new version of the registered model, in stage *Staging* and with the alias *challenger*.
4. `end` announces the version, which triggers **promote**.

To try other candidates or grids, trigger this DAG manually and fill in the form.
"""

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, setup, task, task_group, teardown

from include.mlflow_provider.operators.registry import (
    CreateModelVersionOperator,
    CreateRegisteredModelOperator,
    TransitionModelVersionStageOperator,
)
from include.problem import PROBLEM
from include.services import forms
from include.services.assets import FEATURES, MODEL_TRAINED
from include.services.champions import CHALLENGER_ALIAS, DAG_RUN_ID, MODEL
from include.services.dag_defaults import DAG_DEFAULTS, HEAVY
from include.tasks import feature_eng as experiment
from include.tasks import train as tasks

CANDIDATE = "{{ task.op_kwargs['candidate']['name'] }}"


@task_group
def tune(features_uri: Any, experiment_id: Any) -> Any:
    scratch = setup(tasks.create_scratch)(features_uri, experiment_id)
    listed = task(tasks.list_candidates)(features_uri)
    tune_candidate = task(map_index_template=CANDIDATE, **HEAVY)(tasks.tune_candidate)
    tuned = tune_candidate.partial(scratch=scratch).expand(candidate=listed)
    selected = task(trigger_rule="all_done", multiple_outputs=False)(tasks.select_candidate)(listed)
    tuned >> selected >> teardown(tasks.delete_scratch)(scratch).as_teardown(setups=scratch)
    return selected


@task_group
def register_model(trained: Any) -> Any:
    check = task.branch(tasks.check_if_model_already_registered)()
    create_registered_model = CreateRegisteredModelOperator(
        task_id="create_registered_model",
        name=MODEL,
        tags=[{"key": "model_type", "value": "regression"}, {"key": "data", "value": PROBLEM.name}],
        description=PROBLEM.summary,
        exist_ok=True,
    )
    create_model_version = CreateModelVersionOperator(
        task_id="create_model_version",
        name=MODEL,
        source=trained["model_uri"],
        run_id=trained["run_id"],
        tags=[
            *({"key": name, "value": trained[name]} for name in ("features_uri", "artifact_sha256")),
            {"key": DAG_RUN_ID, "value": "{{ run_id }}"},
        ],
        exist_ok=True,
        trigger_rule="none_failed_min_one_success",
    )
    transition_model = TransitionModelVersionStageOperator(
        task_id="transition_model",
        name=MODEL,
        version="{{ ti.xcom_pull('register_model.create_model_version')['model_version']['version'] }}",
        stage="Staging",
        archive_existing_versions=True,
        alias=CHALLENGER_ALIAS,
    )
    registered = [create_registered_model, EmptyOperator(task_id="model_already_registered")]
    trained >> check >> registered >> create_model_version >> transition_model
    return transition_model.output


@dag(schedule=[FEATURES], doc_md=__doc__, tags=[PROBLEM.name, "model"], params=forms.TRAINING, **DAG_DEFAULTS)
def train() -> None:
    start = EmptyOperator(task_id="start")
    features_uri = task.short_circuit(tasks.fetch_feature_df, inlets=[FEATURES])()
    experiment_id = task(task_id="fetch_experiment_id")(experiment.get_current_experiment_id)()
    trained = task(tasks.train_model)(features_uri, experiment_id, tune(features_uri, experiment_id))
    start >> [features_uri, experiment_id]
    task(outlets=[MODEL_TRAINED])(tasks.end)(register_model(trained))


train()
