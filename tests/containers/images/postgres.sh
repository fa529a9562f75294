#!/bin/sh
# The contract of the official image's entry point, as far as the compose files use it: POSTGRES_USER, POSTGRES_DB,
# POSTGRES_PASSWORD or its _FILE, scripts of /docker-entrypoint-initdb.d on an empty volume, the server as postgres.
set -eu

if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -m 0700 "$PGDATA" && chown -R postgres "$PGDATA"
  install -d -o postgres -m 2775 /var/run/postgresql
  exec gosu postgres "$0" "$@"
fi
if ! [ -s "$PGDATA/PG_VERSION" ]; then
  if [ -n "${POSTGRES_PASSWORD-}" ] && [ -n "${POSTGRES_PASSWORD_FILE-}" ]; then
    echo "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are exclusive" >&2
    exit 1
  fi
  password=${POSTGRES_PASSWORD-$(cat "$POSTGRES_PASSWORD_FILE")}
  POSTGRES_USER=${POSTGRES_USER:-postgres}
  export POSTGRES_USER POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
  printf '%s\n' "$password" >/tmp/password
  initdb --username "$POSTGRES_USER" --pwfile /tmp/password >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --silent --options "-c listen_addresses=''" start
  [ "$POSTGRES_DB" = postgres ] ||
    psql --quiet --username "$POSTGRES_USER" --dbname postgres --command "CREATE DATABASE $POSTGRES_DB"
  for script in /docker-entrypoint-initdb.d/*.sh; do
    [ -e "$script" ] || continue
    echo "running $script"
    if [ -x "$script" ]; then "$script"; else . "$script"; fi
  done
  pg_ctl --wait --silent --mode fast stop
fi
unset POSTGRES_PASSWORD
exec "$@" -c listen_addresses='*'
