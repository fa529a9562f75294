#!/bin/sh
# Gives Airflow and MLflow a key each, limited to their buckets. Keys reach mc on its standard input: on a command
# line every process of the machine could read them. The image has mc and a shell, and no other program to rely on.
set -eu

. /secrets/s3/root.env
export MC_HOST_possums="http://$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD@minio:9000"

for name in airflow mlflow; do
  mc admin policy create possums "$name" "/containers/s3/$name.json"
  mc admin user add possums <"/secrets/s3/$name.key" >/dev/null
  read -r key <"/secrets/s3/$name.key"
  # Attaching what is attached already counts as an error; whether it is there in the end is what matters.
  mc admin policy attach possums "$name" --user "$key" >/dev/null 2>&1 || true
  user=$(mc admin user info possums "$key" --json)
  case $user in
    *'"policyName":'*"\"$name\""*) ;;
    *)
      echo "MinIO has not given the policy $name to its user" >&2
      exit 1
      ;;
  esac
done
echo "Airflow and MLflow have a key each"
