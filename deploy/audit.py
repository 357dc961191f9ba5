#!/usr/bin/env python3
"""Licences, sources and banned crates of every dependency, by deny.toml: the part of `cargo deny check` that needs no
network. Ends with 1 and a line per finding. Versions of one crate that differ are only listed."""

import collections
import json
import pathlib
import re
import subprocess
import sys
import tomllib

root = pathlib.Path(__file__).resolve().parent.parent
rules = tomllib.loads((root / "deny.toml").read_text())
allowed = set(rules["licenses"]["allow"])
registries = {f"registry+{url}" for url in rules["sources"]["allow-registry"]}
banned = {entry["name"]: entry["reason"] for entry in rules["bans"]["deny"]}


def permitted(expression: str) -> bool:
    """Whether an SPDX expression can be met with the allowed licences; `/` is how older crates write OR."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def either():
        nonlocal position
        value = both()
        while peek() in ("OR", "/"):
            position += 1
            value = both() or value
        return value

    def both():
        nonlocal position
        value = single()
        while peek() == "AND":
            position += 1
            value = single() and value
        return value

    def single():
        nonlocal position
        token = peek()
        position += 1
        if token == "(":
            value = either()
            position += 1
            return value
        name = token
        if peek() == "WITH":
            name = f"{token} WITH {tokens[position + 1]}"
            position += 2
        return name in allowed

    return either() and position == len(tokens)


command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", rules["graph"]["targets"][0]]
metadata = json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)
used = {node["id"] for node in metadata["resolve"]["nodes"]}
packages = [package for package in metadata["packages"] if package["id"] in used]
findings, versions = [], collections.defaultdict(set)
for package in packages:
    name = f"{package['name']} {package['version']}"
    versions[package["name"]].add(package["version"])
    if not permitted(package["license"] or "none"):
        findings.append(f"{name}: licence {package['license']!r} is not among those of deny.toml")
    if package["source"] is not None and package["source"] not in registries:
        findings.append(f"{name}: comes from {package['source']}")
    if package["name"] in banned:
        findings.append(f"{name}: banned, {banned[package['name']]}")
    for dependency in package["dependencies"] if package["source"] is None else []:
        if dependency["req"] == "*" and dependency.get("path") is None:
            findings.append(f"{name}: any version of {dependency['name']} will do")

several = sorted(name for name, found in versions.items() if len(found) > 1)
print(f"audit: {len(packages)} packages; in several versions: {', '.join(several) or 'none'}")
for finding in findings:
    print(f"audit: error: {finding}", file=sys.stderr)
sys.exit(1 if findings else 0)
