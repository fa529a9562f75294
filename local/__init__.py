"""The local stack: S3, MLflow and Airflow on this machine, without Docker."""
