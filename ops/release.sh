#!/bin/sh
# Puts a release together from programs that are built: `ops/release.sh TARGET_RELEASE_DIR NAME OUT`, for example
# `ops/release.sh target/release datanode-0.1.0-x86_64 dist`. Makes OUT/NAME.tar.gz, in which install.sh and SHA256SUMS lie.
set -eu
[ $# = 3 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
built=$1 name=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
folder=$out/$name
rm -rf "$folder"
mkdir -p "$folder"
install -m 755 "$built/datanode" "$built/datanode-admin" "$here/install.sh" "$here/setup.sh" "$folder/"
install -m 644 "$here/runbook.md" "$here/systemd/datanode.service" "$here/systemd/datanode.sysusers" \
  "$here/systemd/datanode.tmpfiles" "$here/systemd/journald-datanode.conf" "$folder/"
(cd "$folder" && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS)
# Names, owners and times say nothing of where it was made.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" -C "$out" -cf - "$name" | gzip -n9 >"$out/$name.tar.gz"
echo "$out/$name.tar.gz"
