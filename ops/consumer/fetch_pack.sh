#!/usr/bin/env bash
# Fetches a pack with nothing but aws or curl, jq and sha256sum, and verifies every byte before DIR changes.
#
#   fetch_pack.sh URL DIR [latest | EXPORT_ID | POINTER_FILE]
#
# URL ends with exports/SOURCE: s3://bucket/prefix/exports/home, or http(s)://node:8480/v1/packs/exports/home. aws takes its credentials,
# region and AWS_ENDPOINT_URL from the environment; curl sends DATANODE_TOKEN as a bearer token where it is set. With "-" for URL the
# pointer's own bucket and prefix are used, and no secret goes there: a private bucket needs its URL. PARALLEL (8) downloads at once.
#
# What DIR holds already is not fetched again. A delta pack becomes whole: its files come from the packs that hold them.
# Exit codes: 1 failed, 2 usage, 3 a file is missing or altered, 4 the manifest or pointer is not valid, 5 there is no such pack,
# 6 another fetch is at work.
set -euo pipefail

die() { local code=$1; shift; printf 'fetch_pack: %s\n' "$*" >&2; exit "$code"; }
[ $# -ge 2 ] || die 2 "usage: fetch_pack.sh URL DIR [latest | EXPORT_ID | POINTER_FILE]"
URL=${1%/} DIR=${2%/} wanted=${3:-latest}
for tool in jq sha256sum flock; do command -v "$tool" >/dev/null || die 2 "$tool is not installed"; done

is_id() { [[ $1 =~ ^[0-9]{8}T[0-9]{6}Z_[a-z0-9-]{1,100}_(full|delta)$ ]]; }
field() { sed -n "s/^$2=//p" "$1" | head -n 1; }
# Keys that are known, each at most once, and nothing else.
is_pointer() {
  awk -F= '/^[ \t]*(#|$)/ {next} !/=/ || $1 !~ /^(repo|workflow|run_id|export_bucket|export_prefix|export_id|artifact_hint)$/ || seen[$1]++ {bad = 1} END {exit bad}' "$1"
}

# A pointer says which bucket, which prefix, which pack. A secret does not go where only a pointer says.
UNSIGNED=
if [ -f "$wanted" ]; then
  is_pointer "$wanted" || die 4 "$wanted: a line is no key=value, a key is unknown or given twice"
  id=$(field "$wanted" export_id)
  is_id "$id" || die 4 "$wanted: export_id=$id is not YYYYMMDDTHHMMSSZ_source_full|delta"
  if [ "$URL" = - ]; then
    URL="$(field "$wanted" export_bucket)/$(field "$wanted" export_prefix)"
    URL=${URL%/} UNSIGNED=--no-sign-request
    unset DATANODE_TOKEN
  fi
  wanted=$id
fi
case $URL in
  s3://?*) command -v aws >/dev/null || die 2 "aws is not installed" ;;
  http://?* | https://?*) command -v curl >/dev/null || die 2 "curl is not installed" ;;
  *) die 2 "$URL: not an s3:// or http(s):// URL" ;;
esac
export URL UNSIGNED

# get NAME FILE MOST: one object, of at most so many bytes where curl is told its length; 30 seconds of less than 16 KiB a second end it. The token is not in the list of processes.
get() {
  case $URL in
    s3://*) aws s3 cp $UNSIGNED --only-show-errors "$URL/$1" "$2" ;;
    *)
      if [ -n "${DATANODE_TOKEN:-}" ]; then
        curl -fsSL --globoff --retry 3 --retry-max-time 30 --connect-timeout 10 --speed-limit 16384 --speed-time 30 --max-filesize "$3" --config <(printf 'header = "Authorization: Bearer %s"\n' "$DATANODE_TOKEN") -o "$2" "$URL/$1"
      else
        curl -fsSL --globoff --retry 3 --retry-max-time 30 --connect-timeout 10 --speed-limit 16384 --speed-time 30 --max-filesize "$3" -o "$2" "$URL/$1"
      fi ;;
  esac
}
export -f get

# ends CODE WORDS: with CODE where the last answer says that the object is not there or too long, with 1 where there was no answer.
ends() {
  local code=$1 why=$partial/why
  grep -Eq 'error: 404|\(404\)|NoSuchKey|Maximum file size' "$why" || code=1
  die "$code" "$2: $(tail -n 3 "$why")"
}

parent=$(dirname "$DIR")
[ -d "$parent" ] || die 2 "there is no folder $parent"
[ ! -L "$DIR" ] || die 2 "$DIR is a symlink, name the folder that it leads to"
[ ! -d "$DIR" ] || [ "$(stat -c %d "$DIR")" = "$(stat -c %d "$parent")" ] || die 2 "$DIR is a mount point, which cannot be renamed; name a folder in it"
[ ! -L "$DIR.fetch.lock" ] || die 2 "$DIR.fetch.lock is a symlink, remove it"
exec 9>>"$DIR.fetch.lock"
flock -n 9 || die 6 "another fetch holds $DIR.fetch.lock"
trap 'rm -f "$DIR.fetch.lock"' EXIT
# What a killed fetch left: the old pack, moved away for a moment, and what it had begun.
if [ -e "$DIR.fetch.replaced" ]; then
  if [ -e "$DIR" ]; then rm -rf "$DIR.fetch.replaced"; else mv -T "$DIR.fetch.replaced" "$DIR"; fi
fi
# What stands there may go only where it is a pack and nothing else.
if [ -e "$DIR" ] && { [ ! -d "$DIR" ] || [ -n "$(find "$DIR" -mindepth 1 ! -type d -print -quit)" ]; }; then
  [ -f "$DIR/manifest.json" ] && is_id "$(jq -r .export_id "$DIR/manifest.json" 2>/dev/null)" ||
    die 2 "$DIR is not empty and holds no pack; it is left as it is"
  foreign=$(LC_ALL=C comm -23 <(cd "$DIR" && find . -mindepth 1 ! -type d -printf '%P\n' | LC_ALL=C sort) \
    <({ printf '%s\n' manifest.json SHA256SUMS.stable.txt; jq -r '.files[].path' "$DIR/manifest.json"; } | LC_ALL=C sort))
  [ -z "$foreign" ] || die 2 "$DIR holds what is not of the pack there, it is left as it is: $foreign"
fi
rm -rf "$DIR".fetch.partial.????????
partial=$(mktemp -d "$DIR.fetch.partial.XXXXXXXX")
trap 'rm -rf "$partial" "$DIR.fetch.lock"' EXIT

if [ "$wanted" = latest ]; then
  get latest.pointer "$partial/pointer" 16384 2>"$partial/why" || ends 5 "$URL: no latest.pointer"
  is_pointer "$partial/pointer" || die 4 "latest.pointer: a line is no key=value, a key is unknown or given twice"
  id=$(field "$partial/pointer" export_id)
  rm "$partial/pointer"
else
  id=$wanted
fi
is_id "$id" || die 4 "export_id=$id is not YYYYMMDDTHHMMSSZ_source_full|delta"
here=$(jq -r .export_id "$DIR/manifest.json" 2>/dev/null) || here=
# The newest pack is never one before the pack that is here: a pointer played again, or a bucket that lost its newest.
if [ "$wanted" = latest ] && is_id "$here" && [ "$(cut -d_ -f2 <<<"$here")" = "$(cut -d_ -f2 <<<"$id")" ] && [[ ${id%%_*} < ${here%%_*} ]]; then
  die 3 "$URL: the newest pack there is $id, older than $here in $DIR: find out why the bucket went back; naming $id in place of latest takes it all the same"
fi
get "export_$id/manifest.json" "$partial/manifest.json" 67108864 2>"$partial/why" || ends 5 "there is no complete pack $id"
get "export_$id/SHA256SUMS.stable.txt" "$partial/shipped" 67108864 2>"$partial/why" || ends 3 "$id: SHA256SUMS.stable.txt is missing"
rm -f "$partial/why"

# Nothing of the manifest is believed before this: names become paths, and sums decide what is right.
jq -e --arg id "$id" '
  def id_form: test("^[0-9]{8}T[0-9]{6}Z_[a-z0-9-]{1,100}_(full|delta)$");
  .schema_version == 1 and .export_id == $id and (.files | type == "array")
  and keys == (["schema_version", "export_id", "created_at_utc", "source", "time_window", "producer", "repo_head", "calendar",
    "config_sha256", "files", "qc", "base_export_id", "notes"] | sort)
  and .source == ($id | split("_")[1]) and (.base_export_id != null) == ($id | endswith("_delta"))
  and ([.files[].path] | . == unique)
  and all(.files[];
    (.path | test("^data/[A-Za-z0-9_.=%+-]+(/[A-Za-z0-9_.=%+-]+)*$") and (split("/") | all(. != "." and . != "..")) and length <= 1024)
    and (.sha256 | test("^[0-9a-f]{64}$")) and (.bytes | type == "number" and . >= 0 and . == floor)
    and ((has("held_by") | not) or (.held_by | id_form and . < $id and split("_")[1] == ($id | split("_")[1])
      and ($id | endswith("_delta")))))
' "$partial/manifest.json" >/dev/null 2>&1 || die 4 "$id: manifest.json is not valid"
sum=$(sha256sum "$partial/manifest.json" | cut -d' ' -f1)
grep -qxF "$sum  manifest.json" "$partial/shipped" || die 3 "$id: manifest.json is not the one of SHA256SUMS.stable.txt"
# Packs are never changed: two manifests of one id, each vouched for by its sums, are not for a script to choose between.
if [ "$here" = "$id" ] && ! cmp -s "$DIR/manifest.json" "$partial/manifest.json" &&
  grep -qxF "$(sha256sum "$DIR/manifest.json" | cut -d' ' -f1)  manifest.json" "$DIR/SHA256SUMS.stable.txt"; then
  die 3 "$id: there it has another manifest than in $DIR: find out which is right, and remove the other"
fi

# The sums of the whole folder; what was shipped lists a part of them, or all.
{ printf '%s  manifest.json\n' "$sum"; jq -r '.files[] | "\(.sha256)  \(.path)"' "$partial/manifest.json"; } |
  LC_ALL=C sort -k2 >"$partial/SHA256SUMS.stable.txt"
[ -z "$(LC_ALL=C comm -23 <(LC_ALL=C sort "$partial/shipped") <(LC_ALL=C sort "$partial/SHA256SUMS.stable.txt"))" ] ||
  die 3 "$id: manifest.json and SHA256SUMS.stable.txt disagree"
rm "$partial/shipped"

# What the folder holds already is linked; sha256sum below reads it like everything else.
declare -A have=()
if [ -f "$DIR/SHA256SUMS.stable.txt" ]; then
  while read -r s p; do
    [[ $p != *..* && $p != /* && -f $DIR/$p && ! -L $DIR/$p ]] && have[$s]=$p
  done < <(cd "$DIR" && sha256sum -c SHA256SUMS.stable.txt 2>/dev/null | sed -n 's/: OK$//p' |
    LC_ALL=C sort | LC_ALL=C join -j 1 -o 2.2,1.1 - <(awk '{print $2, $1}' SHA256SUMS.stable.txt | LC_ALL=C sort))
fi
reused=0
: >"$partial/lacking"
while IFS=$'\t' read -r path s holder bytes; do
  mkdir -p "$partial/$(dirname "$path")"
  if [ -n "${have[$s]:-}" ] && ln "$DIR/${have[$s]}" "$partial/$path" 2>/dev/null; then
    reused=$((reused + 1))
  else
    printf '%s\0%s\0%s\0' "export_$holder/$path" "$partial/$path" "$bytes" >>"$partial/lacking"
  fi
done < <(jq -r --arg id "$id" '.files[] | [.path, .sha256, (.held_by // $id), .bytes] | @tsv' "$partial/manifest.json")
xargs -0 -r -n 3 -P "${PARALLEL:-8}" bash -c 'get "$@"' get <"$partial/lacking" 2>"$partial/why" ||
  ends 3 "$id: a file that the manifest names cannot be fetched"
rm "$partial/lacking" "$partial/why"

(cd "$partial" && sha256sum -c --quiet --strict SHA256SUMS.stable.txt >&2) || die 3 "$id: what arrived is not what the manifest names"
[ "$(jq -r '.files[] | "\(.bytes) \(.path)"' "$partial/manifest.json" | LC_ALL=C sort)" = \
  "$(cd "$partial" && find . -path './data/*' -type f -printf '%s %P\n' | LC_ALL=C sort)" ] || die 3 "$id: lengths are not those of the manifest"
named=$(wc -l <"$partial/SHA256SUMS.stable.txt")
found=$(find "$partial" -mindepth 1 ! -type d | wc -l)
[ "$found" -eq $((named + 1)) ] || die 3 "$id: there are other files than the manifest names"

# The old pack stands until the new one is whole.
chmod 755 "$partial"
if [ -e "$DIR" ]; then mv -T "$DIR" "$DIR.fetch.replaced"; fi
if ! mv -T "$partial" "$DIR"; then
  [ ! -e "$DIR.fetch.replaced" ] || mv -T "$DIR.fetch.replaced" "$DIR"
  die 1 "$DIR cannot be replaced"
fi
rm -rf "$DIR.fetch.replaced"
printf '%s  %s files, %s re-used, verified; in %s\n' "$id" "$named" "$reused" "$DIR"
