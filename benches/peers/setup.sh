#!/usr/bin/env bash
# The programs that the benchmarks compare with, at fixed versions, in a cache folder. Nothing is installed outside of it.
#
#   benches/peers/setup.sh dlt        prints the path of a Python that has dlt
#   benches/peers/setup.sh gaps       prints the path of a Python that has nautilus_trader and DuckDB
#   benches/peers/setup.sh restic     prints the path of restic, which the distribution's package brings
#   benches/peers/setup.sh rustic     prints the path of rustic, built by cargo (some minutes)
#   benches/peers/setup.sh graphile   prints a folder whose node_modules has graphile-worker, after PostgreSQL was found
#
# DATANODE_BENCH_CACHE   the cache folder [default: ~/.cache/datanode-bench]
# DATANODE_PG_BIN        PostgreSQL's programs [default: the newest below /usr/lib/postgresql, else from PATH]
# Exit 1, with one line that says what is missing, where a peer cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${DATANODE_BENCH_CACHE:-$HOME/.cache/datanode-bench}
graphile=0.17.3
rustic=0.11.4
fail() { echo "peers/setup.sh: $*" >&2; exit 1; }
# Runs a command, all of its words to a log; its last words to stderr where it fails.
quiet() {
  local log=$cache/setup.log
  "$@" >"$log" 2>&1 || { tail -3 "$log" >&2; return 1; }
}

# The Python of an environment of its own: NAME, REQUIREMENTS, PYTHON to make it with, what must import.
environment() {
  local name=$1 file=$2 python=$3 modules=$4 venv
  venv=$cache/$name-$(sha256sum "$file" | cut -c1-16)
  if [ ! -e "$venv/ready" ]; then
    rm -rf "$venv"
    quiet "$python" -m venv "$venv" || fail "$python cannot make an environment: install python3-venv"
    quiet "$venv/bin/pip" install --disable-pip-version-check -r "$file" ||
      fail "pip could not install $(grep -c '^[^#]' "$file") packages of $file: is the package registry reachable?"
    "$venv/bin/python" -c "import $modules" || fail "$name is installed and does not import; remove $venv and try again"
    touch "$venv/ready"
  fi
  echo "$venv/bin/python"
}

dlt() {
  local python=${DATANODE_BENCH_PYTHON:-python3}
  command -v "$python" >/dev/null || fail "no $python: install Python 3.10 or later"
  environment dlt "$here/requirements.txt" "$python" "dlt, pyarrow"
}

gaps() {
  local python
  for python in "${DATANODE_BENCH_PYTHON:-python3}" python3.13 python3.12 python3.11; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue
    environment gaps "$here/requirements-gaps.txt" "$python" "nautilus_trader, duckdb, exchange_calendars"
    return
  done
  fail "no Python 3.11, 3.12 or 3.13, which nautilus_trader needs; DATANODE_BENCH_PYTHON names one"
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

restic() { type -P restic || fail "no restic: apt-get install restic"; }

rustic() {
  local folder=$cache/rustic-$rustic
  if [ ! -x "$folder/bin/rustic" ]; then
    command -v cargo >/dev/null || fail "no cargo to build rustic with"
    CARGO_TARGET_DIR=$cache/rustic-target quiet cargo install rustic-rs --version "$rustic" --locked --no-default-features --root "$folder" ||
      fail "rustic-rs $rustic does not build"
    rm -rf "$cache/rustic-target"
  fi
  echo "$folder/bin/rustic"
}

mkdir -p "$cache"
case ${1:-} in
  dlt) dlt ;;
  restic) restic ;;
  rustic) rustic ;;
  gaps) gaps ;;
  graphile) graphile ;;
  postgres) postgres ;;
  *) fail "say which: dlt, gaps, restic, rustic, graphile or postgres" ;;
esac
