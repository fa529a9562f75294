#!/bin/sh
# Installs the locked packages of the MLflow server in /opt/mlflow, once per lock file and Python version. The marker is
# written last, so that an interrupted installation is repeated.
set -eu

wanted="$(python --version) $(cat /requirements/mlflow.txt)"
if [ "$(cat /opt/mlflow/installed.txt 2>/dev/null)" = "$wanted" ]; then
  echo "MLflow's packages are up to date"
  exit 0
fi
python -m venv --clear /opt/mlflow
# uv installs in a third of pip's time. It is locked in Airflow's file.
sed -n '/^uv==/,/[^\]$/p' /requirements/airflow.txt >/opt/mlflow/uv.txt
/opt/mlflow/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
  --requirement /opt/mlflow/uv.txt
/opt/mlflow/bin/uv pip install --quiet --no-cache --compile-bytecode --require-hashes --python /opt/mlflow/bin/python \
  --requirement /requirements/mlflow.txt
printf '%s\n' "$wanted" >/opt/mlflow/installed.txt
echo "MLflow's packages are installed"
