#!/bin/sh
# Run once by the image of PostgreSQL, on an empty volume: a user and two databases for MLflow, its own and its logins'.
# The password goes in on standard input, hence it is on no command line.
set -eu

psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<SQL
CREATE ROLE mlflow LOGIN PASSWORD '$(cat /secrets/postgres/mlflow_password)';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_auth OWNER mlflow;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SQL
