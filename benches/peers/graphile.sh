#!/usr/bin/env bash
# The queue benchmark's tasks through graphile-worker on a PostgreSQL of its own: fresh cluster, Unix socket only, fsync and
# synchronous_commit on. Prints one JSON object.
#
#   graphile.sh WORK TASKS CLAIMANTS RECLAIM_SECONDS
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1 tasks=$2 claimants=$3 reclaim=$4
bin=$("$here/setup.sh" postgres)
modules=$("$here/setup.sh" graphile)
temp=$(mktemp -d "$work/pg-XXXXXX")
# PostgreSQL does not run as root.
as=()
if [ "$(id -u)" = 0 ]; then
  user=postgres
  id "$user" >/dev/null 2>&1 || user=nobody
  chown "$user" "$temp"
  # Its way to the folder; the folders above may be closed to others.
  at=$temp
  while [ "$at" != / ]; do at=$(dirname "$at"); [ -k "$at" ] || chmod o+x "$at"; done
  as=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
fi
log=$temp/log
server() { "${as[@]}" "$bin/pg_ctl" -D "$temp/db" "$@" >/dev/null; }
finish() { server -m immediate -w stop 2>/dev/null || true; rm -rf "$temp"; }
trap finish EXIT
"${as[@]}" "$bin/initdb" -D "$temp/db" -U postgres -A trust -E UTF8 --locale=C >/dev/null
server -w -l "$log" -o "-c listen_addresses='' -c unix_socket_directories='$temp' -c fsync=on -c synchronous_commit=on" start ||
  { tail -3 "$log" >&2; exit 1; }
"$bin/createdb" -h "$temp" -U postgres bench
node "$here/graphile.mjs" "$modules" "postgres://postgres@/bench?host=$temp" "$tasks" "$claimants" "$reclaim"
