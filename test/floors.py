#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds every #include of src/ to the table of rooms in src/meson.build: a room includes itself and what it may call."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "src"
table = re.findall(r"^  \[(\d), '(\w+)', \[([^]]*)\]", (root / "meson.build").read_text(), re.M)
direct = {room: re.findall(r"'(\w+)'", uses) for _, room, uses in table}


def below(room):
    return set(direct[room]).union(*(below(r) for r in direct[room]))


allowed = {room: below(room) | {room} for room in direct}
allowed["cmd"] = set(direct) | {"cmd"}  # floor 5
allowed["cni"] = {"cni", "base"}
bad = 0
for path in sorted(root.rglob("*.[ch]")):
    room = path.parent.relative_to(root).parts[0]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        m = re.match(r'#include "(\w+)/', line)
        if m and m.group(1) not in allowed[room]:
            print(f"{path}:{number}: {room} may not include {m.group(1)}")
            bad += 1
print(f"{len(table)} rooms, {bad} includes out of place")
sys.exit(1 if bad else 0)
