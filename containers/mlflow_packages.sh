#!/bin/sh
# Installs the MLflow server in /opt/mlflow exactly as locked, unless that is done already by this Python: another
# one's environment does not start. The marker comes last, hence an installation that was cut short starts anew.
set -eu

wanted="$(python --version) $(cat /requirements/mlflow.txt)"
if [ "$(cat /opt/mlflow/installed.txt 2>/dev/null)" = "$wanted" ]; then
  echo "MLflow's packages are there"
  exit 0
fi
python -m venv --clear /opt/mlflow
/opt/mlflow/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
  --requirement /requirements/mlflow.txt
printf '%s\n' "$wanted" >/opt/mlflow/installed.txt
echo "MLflow's packages are installed"
