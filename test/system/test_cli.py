# SPDX-License-Identifier: Apache-2.0
"""The command line itself: words for mistakes, help, exit codes."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVRAIL = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail"


def kvrail(*args, **options):
    return subprocess.run([KVRAIL, *args], capture_output=True, text=True, timeout=60, **options)


def test_no_command_lists_the_commands_and_is_wrong_usage():
    r = kvrail()
    assert r.returncode == 2 and "kvrail COMMAND" in r.stderr and r.stdout == ""


def test_help_goes_to_stdout_and_is_no_error():
    r = kvrail("--help")
    assert r.returncode == 0 and "  status " in r.stdout and r.stderr == ""


def test_every_listed_command_has_help_with_usage_and_options():
    names = [line.split()[0] for line in kvrail("--help").stdout.splitlines() if line.startswith("  ")]
    assert "apply" in names and "agent" in names
    for name in names:
        r = kvrail(name, "--help")
        assert r.returncode == 0, name
        assert f"usage: kvrail {name}" in r.stdout and "--help" in r.stdout, name


def test_misspelt_command_names_the_nearest():
    r = kvrail("stauts")
    assert r.returncode == 2 and "did you mean 'status'" in r.stderr


def test_misspelt_option_names_the_nearest():
    r = kvrail("apply", "--filname", "x")
    assert r.returncode == 2 and "did you mean '--filename'" in r.stderr


def test_option_without_its_value_says_what_it_wants():
    r = kvrail("apply", "-f")
    assert r.returncode == 2 and "--filename wants a value: FILE" in r.stderr


def test_value_outside_the_choice_lists_the_choice():
    r = kvrail("status", "-o", "jsn")
    assert r.returncode == 2 and "table, json, yaml" in r.stderr and "did you mean 'json'" in r.stderr


def test_one_argument_too_many_is_named():
    r = kvrail("status", "extra")
    assert r.returncode == 2 and "'extra' is one argument too many" in r.stderr


def test_without_an_agent_status_says_how_to_start_one(tmp_path):
    r = kvrail("status", env={**os.environ, "KVRAIL_SOCKET": str(tmp_path / "none")})
    assert r.returncode == 4 and "kvrail agent --standalone" in r.stderr


def test_apply_of_a_bad_manifest_names_file_line_and_field_and_asks_no_agent(tmp_path):
    f = tmp_path / "bad.yaml"
    f.write_text("apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkNodePolicy\nmetadata:\n  name: x\nspec:\n"
                 "  resourceName: r\n  nodeSelector: {}\n  numVfs: 4\n  mtu: minus\n  nicSelector:\n    pfNames: [p2]\n")
    r = kvrail("apply", "-f", str(f), env={**os.environ, "KVRAIL_SOCKET": str(tmp_path / "none")})
    assert r.returncode == 1
    assert f"{f}:9: " in r.stderr and "spec.mtu" in r.stderr and "minus" in r.stderr


def test_apply_without_files_says_so():
    r = kvrail("apply")
    assert r.returncode == 2 and "-f FILE" in r.stderr


def test_missing_file_is_named():
    r = kvrail("apply", "-f", "/nonexistent.yaml")
    assert r.returncode == 1 and "/nonexistent.yaml" in r.stderr


def test_get_of_an_unknown_kind_names_the_nearest():
    r = kvrail("get", "sriovnetworknodepolicie")
    assert r.returncode == 1 and "did you mean sriovnetworknodepolicies" in r.stderr


def test_version_is_one_line():
    assert kvrail("--version").stdout.startswith("kvrail 0.")
