# SPDX-License-Identifier: Apache-2.0
"""kvrail explain: annotations as Multus reads them, and what an ADD of a pod would do."""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVRAIL = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail"

pytestmark = pytest.mark.skipif(not KVRAIL.exists(), reason=f"{KVRAIL} is not built")


def explain(*args, rc=0):
    r = subprocess.run([str(KVRAIL), "explain", *args], capture_output=True, text=True, timeout=60)
    assert "Sanitizer" not in r.stderr, r.stderr
    assert r.returncode == rc, (r.stdout, r.stderr)
    return r


@pytest.mark.parametrize("text, networks", [
    ("[]", []),
    ("roce-p2", [{"name": "roce-p2", "namespace": "llm"}]),
    (" a , other/b@rail1,c@", [{"name": "a", "namespace": "llm"}, {"name": "b", "namespace": "other", "interface": "rail1"},
                               {"name": "c", "namespace": "llm"}]),
    ('[{"name":"a.b","ips":["10.0.0.5/24"],"mac":"02-00-5e-10-00-01","default-route":["10.0.0.1"],"ipam-claim-reference":"x"}]',
     [{"name": "a.b", "namespace": "llm", "ips": ["10.0.0.5/24"], "mac": "02-00-5e-10-00-01", "default-route": ["10.0.0.1"]}]),
    ('[{"name":"a","portMappings":[{"hostPort":8080,"containerPort":80}],"bandwidth":{"egressRate":1000},"infiniband-guid":"c2:11:22:33:44:55:66:77"}]',
     [{"name": "a", "namespace": "llm", "portMappings": [{"hostPort": 8080, "containerPort": 80}], "infiniband-guid": "c2:11:22:33:44:55:66:77",
       "bandwidth": {"ingressRate": 0, "ingressBurst": 0, "egressRate": 1000, "egressBurst": 0}}]),
])
def test_an_annotation_is_printed_with_its_own_keys(text, networks):
    r = explain("--annotation", text, "--namespace", "llm", "--output", "json")
    assert json.loads(r.stdout) == {"networks": networks} and r.stderr == ""


@pytest.mark.parametrize("text, says", [
    ("a,b/c/d", 'network 2 (character 3), "b/c/d": more than one "/"'),
    ("a@b@c", "more than one \"@\""),
    ("A", "DNS-1123"),
    ("a@sixteen-bytes-xx", "interface name"),
    ('[{"name":"a","ips":["10.0.0.300"]}]', '[0].ips[0]: "10.0.0.300"'),
    ('[{"name":"a","mac":"1:2"}]', "[0].mac"),
    ('{"name":"a"}', "must be a list"),
    ('[{"name":"a"', "networks:1:"),
])
def test_an_error_is_told_with_its_place(text, says):
    r = explain("--annotation", text, "--namespace", "llm", "--output", "json", rc=1)
    assert says in r.stderr and r.stdout == "" and len(r.stderr.splitlines()) == 1


def test_what_multus_reads_and_no_pod_could_use_is_printed_with_a_warning():
    r = explain("--annotation", "a,", "-o", "json")
    assert json.loads(r.stdout)["networks"][1] == {"name": "", "namespace": "default"}
    assert "network 2 (character 3): the name" in r.stderr
    assert "a@eth:0" not in explain("--annotation", "a@eth:0").stderr and "eth:0" in explain("--annotation", "a@eth:0").stderr
