#!/bin/sh
# Makes what a node needs beside its programs: its user, its folders, a configuration. What is there stays as it is, so it may run
# at every install and upgrade. With DESTDIR nothing of this machine is touched and nobody is made owner of anything.
set -eu
bin=${1:-/usr/local/bin}
root=${DESTDIR:-}
etc=$root/etc/datanode
data=$root/var/lib/datanode

if [ -z "$root" ] && ! getent passwd datanode >/dev/null; then
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers datanode.conf
  else
    useradd --system --user-group --no-create-home --home-dir /var/lib/datanode --shell /usr/sbin/nologin datanode
  fi
fi

umask 077
mkdir -p "$data/keys" "$etc/credentials"
chmod 755 "$etc"
if [ ! -e "$etc/datanode.toml" ]; then
  "$root$bin/datanode" init "$etc" >/dev/null
  rm -f "$etc/datanode.service"
  # The node may write below its data folder alone: keys belong there, since `datanode key rotate` writes them.
  sed -i \
    -e 's|^data_dir = "data"|data_dir = "/var/lib/datanode"|' \
    -e 's|^key_file = "keys/|key_file = "/var/lib/datanode/keys/|' "$etc/datanode.toml"
  if [ -e "$etc/keys/node.key" ] && [ ! -e "$data/keys/node.key" ]; then
    mv "$etc/keys/node.key" "$data/keys/node.key"
  fi
  rmdir "$etc/keys" 2>/dev/null || true
  echo "wrote /etc/datanode; keep a copy of /var/lib/datanode/keys elsewhere: without it no sealed pack opens"
fi
# The configuration names where keys are, and holds none.
for file in "$etc"/*.toml "$etc"/*.yaml; do
  [ ! -f "$file" ] || chmod a+r "$file"
done
# What lies below belongs to the node's user, who could have put a link there: none is followed.
if [ -z "$root" ] && [ ! -L "$data" ] && [ ! -L "$data/keys" ]; then
  chown -h datanode:datanode "$data" "$data/keys"
  if [ -f "$data/keys/node.key" ]; then chown -h datanode:datanode "$data/keys/node.key"; fi
fi
