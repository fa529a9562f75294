#!/usr/bin/env bash
# Runs a command with a Docker engine of its own, on which the images of tests/containers/images are built:
# tests/containers/engine.sh COMMAND [ARGUMENT]...
#
# Engine, containers, networks and mounts live in namespaces that end with the command. So nothing of them is left
# behind, published ports collide with nothing on this machine, and no rule of its firewall changes. Images are kept in
# .local/containers. Needs Linux, root, Debian's packages and namespaces; without them, the command runs without an engine.
set -euo pipefail

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$folder/../.." && pwd)
home=${CONTAINERS_HOME:-$project/.local/containers}
cgroup=/containers-test

# --- On the machine ----------------------------------------------------------------------------------------------
can_have_engine() {
  [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && install_missing &&
    unshare --net --mount --pid --ipc --fork --mount-proc true
}

install_missing() {
  if command -v dockerd docker mmdebstrap slirp4netns ip iptables pgrep | wc -l | grep -q 7; then return; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    docker.io mmdebstrap slirp4netns iproute2 iptables procps >/dev/null
}

make_base() {
  [ -e "$home/debian.tar" ] && return
  echo "Installing Debian in $home/debian.tar"
  mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/'{man,doc,locale}'/*' \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
    --include=busybox,ca-certificates,git,gosu,libgomp1,libpq5,netbase,openssl,postgresql-15,python3-venv,tini,tzdata \
    bookworm "$home/part.tar"
  mv "$home/part.tar" "$home/debian.tar"
}

run_in_namespaces() {
  local run inside network=0 status=0
  run=$(mktemp -d /tmp/containers-XXXXXX)
  unshare --net --mount --pid --ipc --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" --inside "$run" "$@" &
  inside=$!
  until [ -e "$run/network" ]; do
    kill -0 $inside || return 1
    sleep 0.1
  done
  slirp4netns --configure --mtu=1400 --disable-host-loopback "$(pgrep -P $inside)" tap0 >"$run/slirp.log" 2>&1 &
  network=$!
  wait $inside || status=$?
  kill $network
  wait $network 2>/dev/null || true
  find "/sys/fs/cgroup$cgroup" /sys/fs/cgroup/*"$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
  rm -rf "$run"
  return $status
}

# --- In the namespaces -------------------------------------------------------------------------------------------
start_engine() {
  ip link set lo up
  touch "$1/network"
  until ip link show tap0 >/dev/null 2>&1; do sleep 0.1; done
  export DOCKER_HOST=unix://$1/docker.sock DOCKER_CONFIG=$1 DOCKER_BUILDKIT=0
  dockerd --host "$DOCKER_HOST" --data-root "$home/engine" --exec-root "$1/exec" --pidfile "$1/docker.pid" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent $cgroup \
    --bip 10.210.0.1/24 --default-address-pool base=10.211.0.0/16,size=24 >"$home/engine.log" 2>&1 &
  until docker info >/dev/null 2>&1; do
    kill -0 $! || { tail -n 3 "$home/engine.log" >&2 && return 1; }
    sleep 0.2
  done
  docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null # of a run that was killed
  docker system prune --force --volumes >/dev/null
}

build_images() {
  local context=$home/images
  rm -rf "$context" && cp -r "$folder/images" "$context"
  cp "$project/local/requirements/airflow.txt" "$context/constraints.txt"
  docker image inspect stand-in/debian:bookworm >/dev/null 2>&1 ||
    docker import "$home/debian.tar" stand-in/debian:bookworm >/dev/null
  build python "$(pinned docker-compose.override.yml python)"
  build postgres "$(pinned tests/containers/astro_cli.yml postgres)"
  build seaweedfs "$(pinned containers/s3/compose.seaweedfs.yml chrislusf/seaweedfs)"
  build redis "$(pinned containers/celery.yml redis)"
  build runtime "$(sed -n 's/^FROM //p' "$project/Dockerfile")"
}

build() {
  echo "Building a stand-in for $2"
  docker build --target "$1" --tag "$2" "$home/images" >"$home/build.log" 2>&1 ||
    { tail -n 20 "$home/build.log" >&2 && exit 1; }
}

pinned() { sed -n "s|^ *image: .*\($2:[^ ]*\).*|\1|p" "$project/$1" | head -n 1; }

if [ "${1-}" = --inside ]; then
  run=$2
  shift 2
  if start_engine "$run"; then build_images; else unset DOCKER_HOST; fi
  "$@"
elif can_have_engine; then
  mkdir -p "$home"
  make_base
  run_in_namespaces "$@"
else
  echo "No container engine: it takes Linux, root, packages of Debian, namespaces and /dev/net/tun, or DOCKER_HOST"
  "$@"
fi
