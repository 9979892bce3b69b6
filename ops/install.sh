#!/bin/sh
# Installs a release of datanode on Raspberry Pi OS or Debian. Run it in the unpacked release, where SHA256SUMS lies:
#
#   sudo ./install.sh [--prefix DIR] [--dry-run]     installs, or upgrades what is installed
#   sudo ./install.sh --uninstall [--dry-run]        removes the programs; configuration, keys and data stay
#
# It downloads nothing, and installs only files that SHA256SUMS vouches for; verify that file's signature, or compare it with the
# one that the release page shows, first. It may run again and again. DESTDIR=FOLDER installs into a folder and touches nothing else.
set -eu

prefix=/usr/local
action=install
dry=
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -ge 2 ] || { echo "install.sh: --prefix has no value" >&2; exit 2; }; prefix=$2; shift ;;
    --prefix=*) prefix=${1#--prefix=} ;;
    --dry-run) dry=yes ;;
    --uninstall) action=uninstall ;;
    -h | --help) usage; exit 0 ;;
    *) echo "install.sh: $1 is not known; --help tells what is" >&2; exit 2 ;;
  esac
  shift
done
case $prefix in
  /*) ;;
  *) echo "install.sh: --prefix $prefix is not absolute" >&2; exit 2 ;;
esac

root=${DESTDIR:-}
here=$(cd "$(dirname "$0")" && pwd)
bin=$prefix/bin
doc=$prefix/share/doc/datanode

# Runs a command, or says what would be run.
do_it() {
  if [ -n "$dry" ]; then echo "would: $*"; else "$@"; fi
}

# Whether services of this machine may be touched.
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

if [ -z "$root" ] && [ -z "$dry" ] && [ "$(id -u)" != 0 ]; then
  echo "install.sh: run it as root (sudo), or with DESTDIR=FOLDER" >&2
  exit 1
fi

# Puts one file of the release in its place, whole or not at all; says nothing where it is there already.
put() {
  from=$here/$1 to=$root$2 mode=$3
  if [ -f "$to" ] && cmp -s "$from" "$to" && [ "$(stat -c %a "$to")" = "$mode" ]; then return 0; fi
  if [ -n "$dry" ]; then echo "would: install $2"; return 0; fi
  mkdir -p "$(dirname "$to")"
  install -m "$mode" "$from" "$to.new"
  mv -f "$to.new" "$to"
  echo "installed $2"
}

# Programs first, units last: a unit never names a program that is not there.
files() {
  echo "datanode $bin/datanode 755"
  echo "datanode-admin $bin/datanode-admin 755"
  echo "setup.sh $prefix/lib/datanode/setup.sh 755"
  echo "runbook.md $doc/runbook.md 644"
  echo "datanode.sysusers /usr/lib/sysusers.d/datanode.conf 644"
  echo "datanode.tmpfiles /usr/lib/tmpfiles.d/datanode.conf 644"
  echo "journald-datanode.conf /usr/lib/systemd/journald.conf.d/datanode.conf 644"
  echo "datanode.service /usr/lib/systemd/system/datanode.service 644"
}

verify() {
  [ -f "$here/SHA256SUMS" ] || { echo "install.sh: $here/SHA256SUMS is missing: unpack the whole release" >&2; exit 3; }
  files | while read -r name _; do
    grep -q "^[0-9a-f]\{64\}  $name\$" "$here/SHA256SUMS" || { echo "install.sh: SHA256SUMS does not name $name" >&2; exit 3; }
  done
  (cd "$here" && sha256sum --quiet --strict -c SHA256SUMS) || {
    echo "install.sh: a file is not what SHA256SUMS says; nothing was installed: fetch the release again" >&2
    exit 3
  }
}

install_all() {
  verify
  was_active=
  if live && systemctl is-active --quiet datanode.service; then was_active=yes; fi
  before=$(if [ -x "$root$bin/datanode" ]; then sha256sum <"$root$bin/datanode"; fi)
  # What stands is kept beside it, so that a rollback needs no download.
  if [ -n "$before" ] && [ "$before" != "$(sha256sum <"$here/datanode")" ]; then
    do_it cp -p "$root$bin/datanode" "$root$bin/datanode.before"
    do_it cp -p "$root$bin/datanode-admin" "$root$bin/datanode-admin.before"
  fi
  files | while read -r name to mode; do put "$name" "$to" "$mode"; done
  if [ -n "$dry" ]; then
    echo "would: make the user datanode, /var/lib/datanode and /etc/datanode where they are lacking"
    return 0
  fi
  DESTDIR=$root sh "$here/setup.sh" "$bin"
  if live; then
    systemd-tmpfiles --create datanode.conf
    systemctl daemon-reload
    systemctl enable --quiet datanode.service
    if [ -n "$was_active" ]; then systemctl restart datanode.service; fi
  fi
  if [ -z "$was_active" ]; then
    echo "next: enable a vendor in /etc/datanode/datanode.toml, list symbols in /etc/datanode/universe.yaml, then"
    echo "  sudo -u datanode $bin/datanode --config /etc/datanode/datanode.toml doctor"
    echo "  sudo systemctl start datanode"
  fi
}

uninstall_all() {
  if live; then do_it systemctl disable --now --quiet datanode.service || true; fi
  files | while read -r _ to _; do
    if [ -e "$root$to" ]; then do_it rm -f "$root$to"; fi
  done
  for old in "$bin/datanode.before" "$bin/datanode-admin.before"; do
    if [ -e "$root$old" ]; then do_it rm -f "$root$old"; fi
  done
  for folder in "$root$prefix/lib/datanode" "$root$doc"; do
    if [ -d "$folder" ]; then do_it rmdir --ignore-fail-on-non-empty "$folder"; fi
  done
  if live; then do_it systemctl daemon-reload; fi
  echo "kept: /etc/datanode (configuration), /var/lib/datanode (data and keys) and the user datanode"
}

if [ "$action" = install ]; then install_all; else uninstall_all; fi
