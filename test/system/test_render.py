# SPDX-License-Identifier: Apache-2.0
"""kvrail render: files in, what the SR-IOV operator would write out."""
import json
import os
import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVRAIL = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail"

POLICY = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: %s, namespace: operator}
spec: {resourceName: %s, nodeSelector: {role: gpu}, numVfs: 4, mtu: 9000, isRdma: true, nicSelector: {pfNames: ['p2#%s']}}
"""

NODE = """
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {role: gpu}}
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodeState
metadata: {name: n1, namespace: operator, annotations: {sriovnetwork.openshift.io/keep-state-until: "2026-01-01T00:00:00Z", x: kept}}
status: {interfaces: [{name: p2, pciAddress: '0000:5c:00.0', vendor: 15b3, deviceID: 101d, totalvfs: 8}]}
"""

NETWORK = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetwork
metadata: {name: rail, namespace: operator}
spec:
  resourceName: p2rdma
  networkNamespace: llm
  metaPlugins: |
    {"type": "rdma"}
  ipam: |
    {"type": "whereabouts", "range": "10.0.132.0/24"}
"""


def render(tmp_path, *texts, output="json", **env):
    files = []
    for i, text in enumerate(texts):
        files.append(tmp_path / f"{i}.yaml")
        files[-1].write_text(text)
    clean = {k: v for k, v in os.environ.items() if k not in ("NAMESPACE", "RESOURCE_PREFIX")}
    args = [a for f in files for a in ("-f", str(f))]
    return subprocess.run([str(KVRAIL), "render", *args, "--output", output], capture_output=True, text=True, timeout=60, env={**clean, **env})


def test_json_is_one_array_of_nads_and_node_states(tmp_path):
    r = render(tmp_path, POLICY % ("a", "r1", "0-1") + "---" + POLICY % ("b", "r2", "2-3"), NODE, NETWORK, RESOURCE_PREFIX="nvidia.com")
    assert r.returncode == 0, r.stderr
    nad, state = json.loads(r.stdout)
    assert nad["metadata"] == {"name": "rail", "namespace": "llm", "annotations": {
        "k8s.v1.cni.cncf.io/resourceName": "nvidia.com/p2rdma",
        "sriovnetwork.openshift.io/owner-ref": "SriovNetwork.sriovnetwork.openshift.io/operator/rail"}}
    config = json.loads(nad["spec"]["config"])
    assert [p["type"] for p in config["plugins"]] == ["sriov", "rdma"]
    assert nad["spec"]["config"] == json.dumps(config, indent=4)
    assert state["metadata"] == {"name": "n1", "namespace": "operator", "annotations": {"x": "kept"}}
    group = {"deviceType": "netdevice", "mtu": 9000, "isRdma": True}
    assert state["spec"] == {"bridges": {}, "system": {}, "interfaces": [{
        "pciAddress": "0000:5c:00.0", "name": "p2", "numVfs": 4, "mtu": 9000, "vfGroups": [
            {"resourceName": "r2", "vfRange": "2-3", "policyName": "b", **group},
            {"resourceName": "r1", "vfRange": "0-1", "policyName": "a", **group}]}]}


def test_yaml_says_the_same_as_json(tmp_path):
    args = (POLICY % ("a", "r1", "0-1"), NODE, NETWORK)
    assert list(yaml.safe_load_all(render(tmp_path, *args, output="yaml").stdout)) == json.loads(render(tmp_path, *args).stdout)


def test_only_policies_of_the_operators_namespace_count(tmp_path):
    r = render(tmp_path, POLICY % ("a", "r1", "0-1"), NODE, NAMESPACE="elsewhere")
    assert r.returncode == 0
    assert "interfaces" not in json.loads(r.stdout)[0]["spec"]
    assert "Only policy in elsewhere namespace is respected" in r.stderr


def test_a_network_namespace_is_the_operators_to_give(tmp_path):
    r = render(tmp_path, NETWORK, NAMESPACE="elsewhere")
    assert r.returncode == 1 and r.stdout == ""
    assert ".Spec.NetworkNamespace field can't be specified if the resource is not in the elsewhere namespace" in r.stderr


def test_a_node_without_state_and_a_pool(tmp_path):
    r = render(tmp_path, "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n", POLICY % ("a", "r1", "0-1"), NAMESPACE="operator")
    (state,) = json.loads(r.stdout)
    assert state["metadata"] == {"name": "n2", "namespace": "operator"}
    assert state["spec"] == {"bridges": {}, "system": {}}


OPERATOR = """
apiVersion: sriovnetwork.openshift.io/v1
kind: %s
metadata: {name: default, namespace: operator}
spec: %s
"""


def test_the_operators_configuration_says_which_nodes_it_serves(tmp_path):
    served = OPERATOR % ("SriovOperatorConfig", "{configDaemonNodeSelector: {role: gpu}}")
    r = render(tmp_path, NODE, served)
    assert [o["metadata"]["name"] for o in json.loads(r.stdout)] == ["n1"]
    for spec in "{configDaemonNodeSelector: {role: cpu}}", "{}":  # {}: workers only, by their label
        r = render(tmp_path, NODE, OPERATOR % ("SriovOperatorConfig", spec))
        assert json.loads(r.stdout) == [] and "configDaemonNodeSelector leaves this node out" in r.stderr


def test_configurations_and_pools_of_other_names_and_namespaces_are_not_the_operators(tmp_path):
    config = OPERATOR % ("SriovOperatorConfig", "{configDaemonNodeSelector: {role: cpu}}")
    pool = OPERATOR % ("SriovNetworkPoolConfig", "{rdmaMode: exclusive}")
    for args, env in (([config.replace("name: default", "name: other")], {}), ([config, pool], {"NAMESPACE": "elsewhere"})):
        (state,) = json.loads(render(tmp_path, NODE, *args, **env).stdout)
        assert state["spec"]["system"] == {}
    both = pool.replace("namespace: operator", "namespace: elsewhere").replace("exclusive", "shared")
    (state,) = json.loads(render(tmp_path, NODE, pool, both, NAMESPACE="operator").stdout)
    assert state["spec"]["system"] == {"rdmaMode": "exclusive"}


def test_bridges_are_read_where_the_feature_is_on(tmp_path):
    policy = (POLICY % ("a", "r1", "0-1")).replace("numVfs", "bridge: {ovs: {bridge: {datapathType: netdev}}}, numVfs")
    gates = "{configDaemonNodeSelector: {role: gpu}, featureGates: {manageSoftwareBridges: %s}}"
    off = render(tmp_path, policy, NODE, OPERATOR % ("SriovOperatorConfig", gates % "false"))
    (state,) = json.loads(off.stdout)  # no switchdev: a mistake, of something that nobody reads
    assert state["spec"]["bridges"] == {} and len(state["spec"]["interfaces"]) == 1
    on = render(tmp_path, policy, NODE, OPERATOR % ("SriovOperatorConfig", gates % "true"))
    assert on.returncode == 1 and "eSwitchMode must be switchdev to use software bridge management" in on.stderr


def test_the_pool_of_a_node_gives_its_rdma_mode(tmp_path):
    pool = OPERATOR % ("SriovNetworkPoolConfig", "{rdmaMode: exclusive, nodeSelector: {matchExpressions: "
                       "[{key: role, operator: In, values: [gpu]}]}}")
    (state,) = json.loads(render(tmp_path, NODE, pool).stdout)
    assert state["spec"]["system"] == {"rdmaMode": "exclusive"}
    (state,) = json.loads(render(tmp_path, NODE, pool.replace("[gpu]", "[cpu]")).stdout)
    assert state["spec"]["system"] == {}


@pytest.mark.parametrize("bad,words", [
    (NETWORK.replace('"type": "rdma"', '"type": rdma'), "0.yaml:8: SriovNetwork rail: spec.metaPlugins"),
    (NETWORK.replace("resourceName", "resourcename"), "0.yaml:6: "),
    ("a: [", "0.yaml:2:1: no YAML"),
    (POLICY.replace("numVfs: 4", "numVfs: many") % ("a", "r", "0-1"), "0.yaml:5: SriovNetworkNodePolicy a: spec.numVfs"),
])
def test_bad_input_is_named_with_file_and_line(tmp_path, bad, words):
    r = render(tmp_path, bad)
    assert r.returncode == 1 and r.stdout == ""
    assert words in r.stderr
