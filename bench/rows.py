# SPDX-License-Identifier: Apache-2.0
"""One line a figure, as bench/run collects them: what | measured | to reach | reached, MISSED or skipped."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("KVRAIL_BUILD", "build")


def row(what, measured, reach="-", reached=None):
    """@reached None: nothing to reach, told for comparison."""
    print(" | ".join((what, measured, reach, {None: "-", True: "reached", False: "MISSED"}[reached])), flush=True)


def skip(what, reach, why):
    print(f"{what} | - | {reach} | skipped: {why}", flush=True)
