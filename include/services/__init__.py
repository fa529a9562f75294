"""Services around the pipeline: S3, MLflow, the champion, alerts, assets, lineage."""
