# SPDX-License-Identifier: Apache-2.0
"""kvrail validate: 0, or each mistake with file, line, field and value on stderr."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVRAIL = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail"

POLICY = """apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: %s}
spec:
  resourceName: %s
  nodeSelector: {role: gpu}
  numVfs: %d
  nicSelector: {pfNames: [%s]}
---
"""

NODE = """apiVersion: v1
kind: Node
metadata: {name: n1, labels: {role: %s}}
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodeState
metadata: {name: n1}
status: {interfaces: [{name: p2, pciAddress: '0000:5c:00.0', vendor: '8086', deviceID: '1592', totalvfs: 8}]}
"""


def validate(text, *options, **env):
    clean = {k: v for k, v in os.environ.items() if k != "NAMESPACE"}
    return subprocess.run([str(KVRAIL), "validate", *options, "-f", "-"], input=text, capture_output=True, text=True, timeout=60,
                          env={**clean, **env})


def test_our_example_is_valid_strictly():
    r = subprocess.run([str(KVRAIL), "validate", "--strict", "-f", str(ROOT / "docs/examples/network-roce.yaml")],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and r.stderr == "" and r.stdout.endswith("objects are valid\n")


def test_a_policy_is_held_to_the_ports_of_the_nodes_it_selects():
    assert validate(POLICY % ("a", "rail", 8, "p2") + NODE % "gpu").returncode == 0
    r = validate(POLICY % ("a", "rail", 9, "p2") + NODE % "gpu")
    assert r.returncode == 1 and "numVfs(9) in CR a exceed the maximum allowed value(8) interface(p2)" in r.stderr
    r = validate(POLICY % ("a", "rail", 9, "p2") + NODE % "cpu")
    assert r.returncode == 1 and "no matched node is selected by the nodeSelector in CR a" in r.stderr
    assert validate(POLICY % ("a", "rail", 9, "p2")).returncode == 0  # no node in the input: nothing to hold it to


def test_policies_are_held_to_each_other():
    r = validate(POLICY % ("a", "one", 8, "p2#0-3") + POLICY % ("b", "two", 8, "p2#3-7"))
    assert r.returncode == 1 and "VF index range" in r.stderr


def test_on_nodes_policies_are_held_to_each_other_by_what_the_node_has():
    port = POLICY % ("a", "one", 8, "p2#0-3") + (POLICY % ("b", "two", 8, "other#3-7")).replace("role: gpu", "zone: z")
    node = (NODE % "gpu, zone: z").replace("totalvfs", "altNames: [other], totalvfs")
    r = validate(port + node)
    assert r.returncode == 1 and "stdin:17: SriovNetworkNodePolicy b: spec.nicSelector.pfNames[0]: VF index range in other#3-7" in r.stderr
    assert validate(port.replace("3-7", "4-7") + node).returncode == 0


def test_the_operators_namespace_decides_where_policies_count_and_networks_go():
    network = "apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetwork\nmetadata: {name: rail, namespace: team}\nspec:\n" \
              "  resourceName: r\n  networkNamespace: other\n"
    assert validate(network).returncode == 0
    assert validate(network, NAMESPACE="team").returncode == 0
    r = validate(network, NAMESPACE="operator")
    assert r.returncode == 1 and "stdin:6: SriovNetwork rail: spec.networkNamespace: .Spec.NetworkNamespace field can't be specified" in r.stderr
    policy = (POLICY % ("a", "r", 8, "p2")).replace("{name: a}", "{name: a, namespace: team}")
    r = validate(policy, NAMESPACE="operator")
    assert r.returncode == 0 and "warning: SriovNetworkNodePolicy a: metadata.namespace: a is created or updated but not used." in r.stderr
    assert validate(policy, "--strict", NAMESPACE="operator").returncode == 1
    other = policy.replace("name: a", "name: b")  # the same VFs
    assert validate(policy + other).returncode == 1
    assert validate(policy + other, NAMESPACE="operator").returncode == 0
    assert validate(policy + other.replace("team", "operator"), NAMESPACE="operator").returncode == 0
    assert validate(network.replace("other", '""'), NAMESPACE="operator").returncode == 0


def test_each_mistake_has_its_line_and_warnings_count_when_strict():
    r = validate(POLICY % ("a", "rail", -1, "p2"))
    assert r.returncode == 1 and "stdin:7: SriovNetworkNodePolicy a: spec.numVfs: " in r.stderr
    unknown = (POLICY % ("a", "rail", 4, "p2")).replace("  numVfs", "  numVfss: 4\n  numVfs")
    r = validate(unknown)
    assert r.returncode == 0 and "stdin:7: warning: " in r.stderr and "spec.numVfss" in r.stderr
    r = validate(unknown, "--strict")
    assert r.returncode == 1 and "spec.numVfss" in r.stderr and "warning" not in r.stderr


def test_a_folder_stands_for_its_manifests(tmp_path):
    (tmp_path / "b.yaml").write_text(POLICY % ("two", "r2", 2, "p3"))
    (tmp_path / "a.yml").write_text(POLICY % ("one", "r1", -1, "p2"))
    (tmp_path / "notes.txt").write_text("no manifest: [\n")
    (tmp_path / ".hidden.yaml").write_text("no manifest: [\n")
    r = subprocess.run([KVRAIL, "validate", "-f", tmp_path], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and f"{tmp_path}/a.yml:7" in r.stderr and "1 error in the input" in r.stderr, r.stderr
    (tmp_path / "a.yml").unlink()
    r = subprocess.run([KVRAIL, "validate", "-f", tmp_path], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    (tmp_path / "b.yaml").unlink()
    r = subprocess.run([KVRAIL, "validate", "-f", tmp_path], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and "has no file that ends in .yaml, .yml or .json" in r.stderr


def test_json_as_kubectl_and_jq_print_it_is_taken():
    spec = {"resourceName": "r", "nodeSelector": {}, "numVfs": 4.0, "nicSelector": {"pfNames": ["p2"]}}
    policies = [{"metadata": {"name": n, "labels": {"commit": "12345e678"}}, "spec": spec | {"nodeSelector": {"n": n}}} for n in "ab"]
    kind = {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy"}
    raw = json.dumps({**kind, "kind": "SriovNetworkNodePolicyList", "items": policies})
    lines = "\n".join(json.dumps(kind | p) for p in policies)
    yaml = (POLICY % ("a", "r", 4, "p2")).replace("{name: a}", "{name: a, labels: {commit: 12345e678}}")
    for text, n in ((raw, "2 objects are"), (lines, "2 objects are"), (yaml, "1 object is")):
        r = validate(text)
        assert r.returncode == 0 and r.stdout == f"{n} valid\n" and r.stderr == "", r.stderr
    r = validate(lines.replace("4.0", "-1"))
    assert "stdin:1: SriovNetworkNodePolicy a: spec.numVfs: " in r.stderr and "stdin:2: SriovNetworkNodePolicy b: spec.numVfs: " in r.stderr
