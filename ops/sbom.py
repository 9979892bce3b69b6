#!/usr/bin/env python3
"""What the programs are made of, as CycloneDX 1.5: `cargo metadata --format-version 1 --locked | ops/sbom.py > sbom.cdx.json`.

Every crate that the two programs are linked from, with version, licence and the checksum of Cargo.lock; what only tests, benchmarks
and build scripts need is left out. The same lock file gives the same bytes.
"""

import json
import re
import sys


def checksums(lock):
    found = {}
    for block in lock.split("[[package]]")[1:]:
        field = dict(re.findall(r'^(name|version|checksum) = "([^"]*)"', block, re.M))
        if "checksum" in field:
            found[field["name"], field["version"]] = field["checksum"]
    return found


def needed(metadata, root):
    """The ids that `root` is linked from: normal dependencies alone."""
    nodes = {n["id"]: n for n in metadata["resolve"]["nodes"]}
    todo, seen = [root], set()
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        for dep in nodes[at]["deps"]:
            if any(k["kind"] is None for k in dep["dep_kinds"]):
                todo.append(dep["pkg"])
    return seen


def main():
    metadata = json.load(sys.stdin)
    packages = {p["id"]: p for p in metadata["packages"]}
    root = next(i for i, p in packages.items() if p["name"] == "datanode" and p["source"] is None)
    with open(metadata["workspace_root"] + "/Cargo.lock", encoding="utf-8") as f:
        sums = checksums(f.read())

    def component(p):
        kind = "application" if p["id"] == root else "library"
        out = {"type": kind, "name": p["name"], "version": p["version"], "bom-ref": f"{p['name']}@{p['version']}"}
        if p["source"]:
            out["purl"] = f"pkg:cargo/{p['name']}@{p['version']}"
        if p.get("license"):
            out["licenses"] = [{"expression": p["license"].replace("/", " OR ")}]
        if (p["name"], p["version"]) in sums:
            out["hashes"] = [{"alg": "SHA-256", "content": sums[p["name"], p["version"]]}]
        return out

    ids = needed(metadata, root)
    parts = sorted((packages[i] for i in ids if i != root), key=lambda p: (p["name"], p["version"]))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[root])},
        "components": [component(p) for p in parts],
    }
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


main()
