"""## MLflow tutorial

Three ways to use MLflow from Airflow, for a first look, each in a separate task:

1. **A hook in a task.** `create_experiment` calls MLflow's REST API through the `MLflowClientHook`, and creates the
   experiment unless it exists.
2. **MLflow's own library in a task.** `scale_features` scales 13 measurements of 178 wines with scikit-learn.
   Autologging writes parameters, data and the fitted scaler to MLflow as run `Scaler`; one more line adds the means as
   metrics.
3. **An operator.** `create_registered_model` creates an entry in MLflow's model registry, without any code.

`create_buckets_if_not_exists` comes first: this project keeps MLflow's files and Airflow's XComs in S3.

Trigger it manually, as often as you like: every run adds an MLflow run. The form takes other names for experiment and
registered model. `docs/tutorial.md` says where to look afterwards.
"""

from datetime import timedelta

from airflow.providers.amazon.aws.operators.s3 import S3CreateBucketOperator
from airflow.sdk import Param, dag, task

from include.mlflow_provider.operators.registry import CreateRegisteredModelOperator
from include.problem import PROBLEM
from include.settings import XCOM_BUCKET


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["mlflow", "tutorial"],
    params={
        "experiment": Param("MLflow_tutorial", type="string", minLength=1, description="On Databricks /Shared/..."),
        "model": Param("Wine_scaler", type="string", minLength=1, description="Name in MLflow's model registry"),
    },
    default_args={"owner": "tutorial", "retries": 2, "execution_timeout": timedelta(minutes=10)},
)
def mlflow_tutorial_dag() -> None:
    # An installation whose buckets exist does not need this task.
    create_buckets_if_not_exists = S3CreateBucketOperator.partial(task_id="create_buckets_if_not_exists").expand(
        bucket_name=[PROBLEM.artifact_bucket, XCOM_BUCKET]
    )

    @task
    def create_experiment(params: dict) -> str:
        from include.mlflow_provider.hooks.client import MLflowClientHook

        return MLflowClientHook().create_experiment(params["experiment"], exist_ok=True)

    @task
    def scale_features(experiment_id: str) -> str:
        import warnings

        import mlflow
        from airflow.utils.deprecation_tools import DeprecatedImportWarning
        from mlflow.entities import LoggedModelStatus
        from sklearn.datasets import load_wine
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from include.mlflow_provider.hooks.base import MLflowBaseHook

        # skops touches every loaded module, and Airflow's old ones warn each time: a thousand lines of log.
        warnings.simplefilter("ignore", DeprecatedImportWarning)
        # Autologging pickles by default, and loading a pickle can run any code. skops loads data, and only types that
        # are known to be safe.
        mlflow.sklearn.autolog(serialization_format="skops")
        features = load_wine(as_frame=True).data
        with MLflowBaseHook().environment(), mlflow.start_run(experiment_id=experiment_id, run_name="Scaler"):
            # In a pipeline, because autologging passes over a preprocessing step that stands alone.
            scaler = make_pipeline(StandardScaler()).fit(features)
            mlflow.log_metrics({f"mean_{name}": mean for name, mean in zip(features, scaler[-1].mean_, strict=True)})
            model = mlflow.last_logged_model()
            # Autologging only warns if it fails, and the run would lack its model.
            if model is None or model.status != LoggedModelStatus.READY:
                raise RuntimeError("MLflow did not store the scaler, see the warning above")
        return model.model_uri

    create_registered_model = CreateRegisteredModelOperator(
        task_id="create_registered_model",
        name="{{ params.model }}",
        tags=[{"key": "framework", "value": "scikit-learn"}],
        description="Scales the measurements of a wine to mean 0 and variance 1.",
        exist_ok=True,
    )

    experiment_id = create_experiment()
    create_buckets_if_not_exists >> experiment_id
    scale_features(experiment_id) >> create_registered_model


mlflow_tutorial_dag()
