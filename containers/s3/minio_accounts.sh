#!/bin/sh
# Creates a key for Airflow and one for MLflow, each limited to its buckets. Keys are passed to mc on standard input,
# because every process of the machine can read command lines. The image has mc and a shell, but few other programs.
set -eu

. /secrets/s3/root.env
export MC_HOST_server="http://$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD@minio:9000"

for name in airflow mlflow; do
  mc admin policy create server "$name" "/containers/s3/$name.json"
  mc admin user add server <"/secrets/s3/$name.key" >/dev/null
  read -r key <"/secrets/s3/$name.key"
  # Attaching an attached policy is an error, so check the result instead.
  mc admin policy attach server "$name" --user "$key" >/dev/null 2>&1 || true
  user=$(mc admin user info server "$key" --json)
  case $user in
    *'"policyName":'*"\"$name\""*) ;;
    *)
      echo "MinIO has not attached the policy $name to its user" >&2
      exit 1
      ;;
  esac
done
echo "Airflow and MLflow have a key each"
