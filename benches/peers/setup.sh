#!/usr/bin/env bash
# The programs that the benchmarks compare with, at fixed versions, in a cache folder. Nothing is installed outside of it.
#
#   benches/peers/setup.sh dlt        prints the path of a Python that has dlt
#   benches/peers/setup.sh graphile   prints a folder whose node_modules has graphile-worker, after PostgreSQL was found
#
# DATANODE_BENCH_CACHE   the cache folder [default: ~/.cache/datanode-bench]
# DATANODE_PG_BIN        PostgreSQL's programs [default: the newest below /usr/lib/postgresql, else from PATH]
# Exit 1, with one line that says what is missing, where a peer cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${DATANODE_BENCH_CACHE:-$HOME/.cache/datanode-bench}
graphile=0.17.3
fail() { echo "peers/setup.sh: $*" >&2; exit 1; }
# Runs a command, all of its words to a log; its last words to stderr where it fails.
quiet() {
  local log=$cache/setup.log
  "$@" >"$log" 2>&1 || { tail -3 "$log" >&2; return 1; }
}

dlt() {
  local python=${DATANODE_BENCH_PYTHON:-python3} venv
  command -v "$python" >/dev/null || fail "no $python: install Python 3.10 or later"
  venv=$cache/dlt-$(sha256sum "$here/requirements.txt" | cut -c1-16)
  if [ ! -e "$venv/ready" ]; then
    rm -rf "$venv"
    quiet "$python" -m venv "$venv" || fail "$python cannot make an environment: install python3-venv"
    quiet "$venv/bin/pip" install --disable-pip-version-check -r "$here/requirements.txt" ||
      fail "pip could not install $(grep -c '^[^#]' "$here/requirements.txt") packages of $here/requirements.txt: is the package registry reachable?"
    "$venv/bin/python" -c 'import dlt, pyarrow' || fail "dlt is installed and does not import; remove $venv and try again"
    touch "$venv/ready"
  fi
  echo "$venv/bin/python"
}

postgres() {
  local bin=${DATANODE_PG_BIN:-}
  if [ -z "$bin" ]; then
    bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
    [ -n "$bin" ] || bin=$(dirname "$(command -v initdb || true)")
  fi
  [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] || fail "no PostgreSQL: apt-get install postgresql, or set DATANODE_PG_BIN"
  echo "$bin"
}

graphile() {
  local folder=$cache/graphile-worker-$graphile
  postgres >/dev/null
  command -v node >/dev/null && command -v npm >/dev/null || fail "no node with npm: install Node.js 18 or later"
  if [ ! -e "$folder/ready" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    echo '{"private": true, "type": "module"}' >"$folder/package.json"
    (cd "$folder" && quiet npm install --no-audit --no-fund --save-exact "graphile-worker@$graphile") ||
      fail "npm could not install graphile-worker $graphile: is the package registry reachable?"
    touch "$folder/ready"
  fi
  echo "$folder"
}

mkdir -p "$cache"
case ${1:-} in
  dlt) dlt ;;
  graphile) graphile ;;
  postgres) postgres ;;
  *) fail "say which: dlt, graphile or postgres" ;;
esac
