#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Time to read the inventory of a machine with 16 ports and 256 VFs, from a tree. Prints one row.

usage: bench/inventory.py      (KVRAIL_BUILD: the build folder, default build, a release build)

The whole process is timed, the bare start of the program (--version) taken off. A tree on disk is not sysfs, and it carries 3,000
recorded errors that are looked up at each read: it is the slower of the two.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS = 40


def best(*args):
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return times[0], times[RUNS // 2]


def main():
    kvrail = ROOT / os.environ.get("KVRAIL_BUILD", "build") / "kvrail"
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.executable, ROOT / "test/trees/generate.py", tmp, "bench-16x16"], check=True)
        bare, _ = best(kvrail, "--version")
        low, middle = best(kvrail, "inventory", "--root", f"{tmp}/bench-16x16")
    print(f"inventory, 16 ports, 256 VFs    best {low - bare:6.1f} ms   median {middle - bare:6.1f} ms   reach: 10 ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
