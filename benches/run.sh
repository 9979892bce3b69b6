#!/usr/bin/env bash
# Everything in benches/, and one table of it. See benches/README.md.
#
#   benches/run.sh [--data DIR] [--reps N] [--only PARTS] [--vendors LIST] [--seeds N] [--work DIR] [--out DIR] [--name NAME]
#                  [--soak-minutes N] [--markdown] [--ship] [--strace] [--no-peers]
#
# PARTS: nightly,store,seal,chaos,queue,scale,ledger,page,packs,vault,truth, all of them by default; and soak, where it is asked for
#
# --data DIR   CSV laid out as equities_bars/SYM.csv, equities_bars_minute/SYM/DATE.csv, macro_treasury/ID.csv, universe.yaml;
#              without it, a market made from seed 7
# --work DIR   a folder on the disk to be measured [default: /var/tmp]
# --out DIR    where <name>.md and <name>.jsonl are written [default: results/ beside this]
# --name NAME  pi4 and pi5 fill the columns of that name from then on [default: by the machine]
# --vendors L  vendors of the chaos part [default: alpaca,massive,tiingo,files]
# --seeds N    markets of the truth part [default: 20]
# --soak-minutes N   how long the soak part takes [default: 60]
# --no-peers   install nothing: neither dlt (which brings what compares the rows of the chaos part) nor graphile-worker,
#              nautilus_trader and DuckDB
# --markdown   print the table as markdown, as it is written
#
# DATANODE_BIN_DIR   measure the programs of this folder (target/…/release) and build nothing
# DATANODE_RUNNER    words before every program, for emulation: "qemu-aarch64-static -L ROOT/usr/aarch64-linux-gnu"
# DATANODE_S3S_FS    s3s-fs; without it the packs part uploads and pulls nothing
# DATANODE_RCLONE    rclone, which uploads are compared with
# DATANODE_PYTHON    with --no-peers: a Python with pyarrow and numpy, for the chaos part
#                    see also benches/peers/setup.sh for where peers are installed
set -euo pipefail
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "$0")" && pwd)
data='' reps=3 seeds=20 soak_minutes=60 only=nightly,store,seal,chaos,queue,scale,ledger,page,packs,vault,truth vendors=alpaca,massive,tiingo,files
work=/var/tmp out=$here/results name='' markdown='' peers=1
nightly_flags=()
die() { echo "run.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --soak-minutes) [ $# -ge 2 ] || die "$1 needs a value"; soak_minutes=$2; shift 2 ;;
    --data|--reps|--seeds|--only|--vendors|--work|--out|--name) [ $# -ge 2 ] || die "$1 needs a value"; declare "${1#--}=$2"; shift 2 ;;
    --markdown) markdown=--markdown; shift ;;
    --ship|--strace) nightly_flags+=("$1"); shift ;;
    --no-peers) peers=''; shift ;;
    -h|--help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) die "$1: no such option; --help tells them" ;;
  esac
done
for n in reps seeds soak_minutes; do case ${!n} in ''|*[!0-9]*|0) die "--$n ${!n}: a number from 1" ;; esac; done
wants() { case ,$only, in *,"$1",*) true ;; *) false ;; esac; }
say() { echo "── $*" >&2; }

# ── programs ─────────────────────────────────────────────────────────────────────────────────────────────────────────
# Paths of what cargo built come from cargo; from a folder that others built, the newest of a name.
built=''
if [ -z "${DATANODE_BIN_DIR:-}" ]; then
  say "building"
  benches=(--bench report)
  for b in nightly store chaos queue scale ledger page packs vault truth soak; do if wants $b; then benches+=(--bench $b); fi; done
  built=$(cd "$here/.." && cargo build --release --bin datanode "${benches[@]}" --message-format=json-render-diagnostics)
  if wants seal; then
    # Where it does not build, the rest is still measured.
    built+=$'\n'$(cd "$here/.." && cargo build --release --bench seal --message-format=json-render-diagnostics) ||
      say "the seal bench does not build: left out"
  fi
fi
program() {
  if [ -n "${DATANODE_BIN_DIR:-}" ]; then
    local p
    for p in "$DATANODE_BIN_DIR/$1" $(ls -t "$DATANODE_BIN_DIR/deps/$1"-* 2>/dev/null); do
      case $p in *.d|*.rlib|*.rmeta|*.o) continue ;; esac
      if [ -f "$p" ] && [ -x "$p" ]; then echo "$p"; return; fi
    done
  else
    { grep -F "\"name\":\"$1\"" <<<"$built" || true; } | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
  fi
}
datanode=$(program datanode) report=$(program report)
[ -n "$datanode" ] && [ -n "$report" ] || die "datanode and report are not in ${DATANODE_BIN_DIR:-the build}"
read -r -a runner <<<"${DATANODE_RUNNER:-}"
run() { "${runner[@]}" "$@"; }

# ── machine ──────────────────────────────────────────────────────────────────────────────────────────────────────────
mkdir -p "$work" "$out"
arch=$(uname -m)
model=$( (tr -d '\0' </proc/device-tree/model) 2>/dev/null || sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
if [ -z "$name" ]; then
  case "$model ${runner[*]}" in
    *qemu*) name="${runner[0]##*/}"; name=${name#qemu-}; name=${name%-static}-emulated ;;
    "Raspberry Pi 4"*) name=pi4 ;;
    "Raspberry Pi 5"*) name=pi5 ;;
    *) name=$arch ;;
  esac
fi
temp=$(mktemp -d "$work/datanode-bench-run-XXXXXX")
trap 'rm -rf "$temp"' EXIT
figures=$temp/figures.jsonl
: >"$figures"
first() { head -1 "$1" 2>/dev/null || true; }
celsius() { first /sys/class/thermal/thermal_zone0/temp | awk 'NF {printf "%.0f °C", $1/1000}'; }
machine() {
  echo "- machine: ${model:-unknown}, $(nproc) cores, $(awk '/^MemTotal/{printf "%.1f GB", $2/1e6}' /proc/meminfo), pages of $(getconf PAGESIZE) bytes"
  local governor; governor=$(first /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor)
  [ -z "$governor" ] || echo "- governor: $governor"
  echo "- kernel: $(uname -sr) $arch"
  [ ${#runner[@]} -eq 0 ] || echo "- **emulated** by \`${runner[0]##*/}\`: results are right, speeds and memory say nothing about a real machine"
  echo "- disk of the run: $(df --output=fstype,avail -BG "$temp" | tail -1 | awk '{print $1 ", " $2 " free"}')"
  echo "- load when it began: $(cut -d' ' -f1-3 /proc/loadavg)"
  echo "- versions: $(run "$datanode" --version), $(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo 'no git')$(git -C "$here" diff --quiet HEAD 2>/dev/null || echo ' with changes'), $(rustc --version 2>/dev/null || echo 'no rustc here'), $(sha256sum --version | head -1)"
  echo "- data: $said, $(find "$data" -name '*.csv' | wc -l) files, $(find "$data" -name '*.csv' -exec cat {} + | wc -l) lines"
  echo "- date: $(date -u +%F), repetitions: $reps; median (lowest – highest)"
}
if [ -z "$data" ]; then
  data=$temp/market said='made from seed 7'
  say "a market from seed 7"
  run "$datanode" vendorsim --seed 7 --symbols 20 --from 2005-01-03 --to 2025-06-30 --minute-sessions 10 \
    --series DGS1,DGS2,DGS3,DGS5,DGS7,DGS10,DGS20,DGS30 --write-data "$data"
else
  data=$(cd "$data" && pwd) said='a folder of vendor CSV'
fi
[ -f "$data/universe.yaml" ] || die "$data has no universe.yaml"
machine >"$temp/head.md"
heat=$(celsius)

# ── measuring ────────────────────────────────────────────────────────────────────────────────────────────────────────
say "disk"
run "$report" disk "$temp" >>"$figures"
missing=()
if wants nightly; then
  say "nightly, $reps times"
  run "$(program nightly)" --datanode "$datanode" --data "$data" --work "$temp" --reps "$reps" "${nightly_flags[@]}" >>"$figures"
fi
if wants store; then
  say "store, $reps times"
  run "$(program store)" --work "$temp" --reps "$reps" >>"$figures"
fi
if wants seal; then
  seal=$(program seal)
  if [ -n "$seal" ]; then
    say "seal"
    run "$seal" --dir "$temp" --rounds "$reps" >"$temp/seal.txt"
    # "NAME  1.0 ms  2 MB/s  NOTE"; what it prints otherwise stands below the table.
    tr -d '"\\' <"$temp/seal.txt" |
      sed -nE 's#^(.*[^ ]) +([0-9.]+) ms +([0-9.]+) MB/s *(.*)$#{"figure":"seal","what":"\1","unit":"MB/s","value":\3,"min":\3,"max":\3,"n":1,"note":"\4"}#p' >>"$figures"
  else
    missing+=("seal: its bench is not built")
  fi
fi
# A peer is installed at a fixed version, once; where it cannot be had, the table says so and the node is measured alone.
peer() {
  if [ -z "$peers" ]; then echo "left out with --no-peers" >&2; return 1; fi
  "$here/peers/setup.sh" "$1"
}
said_of() { sed 's#^peers/setup.sh: ##' "$temp/peer.err" | tail -1; }
if wants chaos; then
  chaos_flags=()
  if ! python=$(peer dlt 2>"$temp/peer.err"); then
    missing+=("dlt: $(said_of)")
    python=${DATANODE_PYTHON:-python3} chaos_flags=(--no-peer)
  fi
  if "$python" -c 'import numpy, pyarrow' 2>/dev/null; then
    say "chaos, $reps times"
    run "$(program chaos)" --datanode "$datanode" --python "$python" --benches "$here" --work "$temp" --reps "$reps" \
      --vendors "$vendors" "${chaos_flags[@]}" >>"$figures"
  else
    missing+=("chaos: $python has no numpy and pyarrow, which compare the rows")
  fi
fi
if wants queue; then
  queue_flags=(--peer "$here/peers/graphile.sh")
  if ! peer graphile >/dev/null 2>"$temp/peer.err"; then
    missing+=("graphile-worker: $(said_of)")
    queue_flags=()
  fi
  say "queue, $reps times"
  run "$(program queue)" --work "$temp" --reps "$reps" "${queue_flags[@]}" >>"$figures"
fi
if wants ledger; then
  say "ledger, $reps times"
  run "$(program ledger)" --datanode "$datanode" --work "$temp" --reps "$reps" >>"$figures"
fi
if wants page; then
  say "page"
  run "$(program page)" --datanode "$datanode" --work "$temp" >>"$figures"
fi
if wants scale; then
  say "scale, $reps times"
  run "$(program scale)" --work "$temp" --reps "$reps" >>"$figures"
fi
if wants packs; then
  [ -n "${DATANODE_S3S_FS:-}" ] || missing+=("uploads and pulls of packs: DATANODE_S3S_FS names no s3s-fs")
  [ -n "${DATANODE_RCLONE:-}" ] || missing+=("uploads beside rclone: DATANODE_RCLONE names no rclone")
  say "packs, $reps of each size"
  run "$(program packs)" --datanode "$datanode" --work "$temp" --reps "$reps" >>"$figures"
fi
if wants vault; then
  vault_flags=()
  for p in restic rustic; do
    if at=$(peer $p 2>"$temp/peer.err"); then vault_flags+=("--$p" "$at"); else missing+=("$p: $(said_of)"); fi
  done
  say "vault, $reps of each size"
  run "$(program vault)" --datanode "$datanode" --work "$temp" --reps "$reps" "${vault_flags[@]}" >>"$figures"
fi
if wants truth; then
  truth_flags=()
  if python=$(peer gaps 2>"$temp/peer.err"); then
    truth_flags=(--python "$python" --benches "$here")
  else
    missing+=("nautilus_trader and DuckDB: $(said_of)")
  fi
  say "truth, $seeds markets"
  run "$(program truth)" --datanode "$datanode" --work "$temp" --seeds "$seeds" --table "$temp/truth.md" "${truth_flags[@]}" >>"$figures"
fi
if wants soak; then
  python=$(peer dlt 2>"$temp/peer.err") || python=${DATANODE_PYTHON:-python3}
  say "soak, $soak_minutes minutes"
  run "$(program soak)" --datanode "$datanode" --work "$temp" --minutes "$soak_minutes" --fixtures "$here/../fixtures" --python "$python" >>"$figures"
fi
[ -z "$heat" ] || echo "- heat: $heat before, $(celsius) after" >>"$temp/head.md"

# ── table ────────────────────────────────────────────────────────────────────────────────────────────────────────────
cp "$figures" "$out/$name.jsonl"
pis=()
for pi in pi4 pi5; do if [ -f "$out/$pi.jsonl" ]; then pis+=("--$pi" "$out/$pi.jsonl"); fi; done
table() {
  cat "$temp/head.md"
  local m
  for m in "${missing[@]}"; do echo "- not measured: $m"; done
  echo
  run "$report" table "$figures" "$@" "${pis[@]}"
  if [ -s "$temp/seal.txt" ]; then
    echo
    sed -n '1p;$p' "$temp/seal.txt" | sed 's/^/seal: /'
  fi
  if [ -s "$temp/truth.md" ]; then
    printf '\ntruth, over all markets: precision · recall (claims)\n\n'
    cat "$temp/truth.md"
  fi
}
{ echo "# Measured on $name"; echo; table --markdown; } >"$out/$name.md"
if [ -n "$markdown" ]; then cat "$out/$name.md"; else table; fi
say "written: $out/$name.md"
