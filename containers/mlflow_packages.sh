#!/bin/sh
# Installs the MLflow server in /opt/mlflow exactly as locked, unless that is done already. The marker comes last,
# hence an installation that was cut short starts anew.
set -eu

if cmp -s /requirements/mlflow.txt /opt/mlflow/installed.txt; then
  echo "MLflow's packages are there"
  exit 0
fi
python -m venv --clear /opt/mlflow
/opt/mlflow/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
  --requirement /requirements/mlflow.txt
cp /requirements/mlflow.txt /opt/mlflow/installed.txt
echo "MLflow's packages are installed"
