# SPDX-License-Identifier: Apache-2.0
"""Each command has a manual page, and the page names each of its options."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan")


def kvrail(*args):
    return subprocess.run([str(BUILD / "kvrail"), *args], capture_output=True, text=True, check=True).stdout


def commands():
    if not (BUILD / "kvrail").exists():
        return []
    return re.findall(r"^  (\w+) ", kvrail("--help"), re.M)


@pytest.mark.parametrize("command", commands())
def test_page_names_each_option(command):
    page = next((p for p in (ROOT / "man").glob(f"kvrail-{command}.[18].scd")), None)
    assert page, f"man/kvrail-{command}.1.scd is missing"
    text = page.read_text()
    for option in set(re.findall(r"--[a-z-]+", kvrail(command, "--help").split("options:")[1])) - {"--help"}:
        assert option in text, f"{page.name} does not name {option}"


def test_program_page_names_each_command():
    text = (ROOT / "man/kvrail.1.scd").read_text()
    for command in commands():
        assert f"*{command}*" in text, command
