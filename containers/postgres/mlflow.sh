#!/bin/sh
# Run once by the PostgreSQL image on an empty volume: creates a user and two databases for MLflow, one for its logins.
# The password is passed on standard input, so that it is on no command line.
set -eu

psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<SQL
CREATE ROLE mlflow LOGIN PASSWORD '$(cat /secrets/postgres/mlflow_password)';
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_auth OWNER mlflow;
SQL
