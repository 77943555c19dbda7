#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Time to read the inventory of a machine with 16 ports and 256 VFs, from a tree.

The whole process is timed, the bare start of the program (--version) taken off: both take turns, median from median and best
from best. A tree on disk is not sysfs, and it carries 3,000 recorded errors that are looked up at each read: it is the slower
of the two.
"""
import subprocess
import sys
import tempfile
import time

from rows import BUILD, ROOT, row

RUNS = 60


def once(*args):
    start = time.perf_counter()
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3


def main():
    kvrail = BUILD / "kvrail"
    bare, whole = [], []
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.executable, ROOT / "test/trees/generate.py", tmp, "bench-16x16"], check=True)
        for _ in range(RUNS):
            bare.append(once(kvrail, "--version"))
            whole.append(once(kvrail, "inventory", "--root", f"{tmp}/bench-16x16"))
    bare.sort()
    whole.sort()
    middle = whole[RUNS // 2] - bare[RUNS // 2]
    row("inventory of 16 ports with 256 VFs (tree)", f"{middle:.1f} ms (best {whole[0] - bare[0]:.1f})", "<= 10 ms", middle <= 10)


main()
