# SPDX-License-Identifier: Apache-2.0
"""VFs on vfio-pci, behind an emulated IOMMU: provisioned by a policy, given to pods without an interface, taken back at every step."""
import json
import os
import pathlib
import subprocess

import pytest

import kvnode
from lab.runtime import CniError, Pod

TREE = pathlib.Path(__file__).resolve().parents[2]
DRIVER = TREE / os.environ.get("KVRAIL_BUILD", "build") / "test/system/attach_driver"
LAB = {"append": "intel_iommu=on iommu=pt", "qemu_arguments": ["-device", "intel-iommu"]}
VFS = ["0000:01:10.0", "0000:01:10.2"]
STATE = "/var/lib/kvrail-test"
MANIFEST = "/tmp/vfio.yaml"
POLICY = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: dpdk, namespace: openshift-sriov-network-operator}
spec:
  resourceName: dpdk
  nodeSelector: {}
  deviceType: vfio-pci
  mtu: 9000
  numVfs: 2
  nicSelector: {vendor: "8086", pfNames: [p0]}
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetwork
metadata: {name: dpdk, namespace: openshift-sriov-network-operator}
spec:
  networkNamespace: llm-test
  resourceName: dpdk
  vlan: 100
  vlanQoS: 3
  spoofChk: "off"
  trust: "on"
  ipam: '{"type": "whereabouts", "range": "10.0.140.0/24"}'
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetwork
metadata: {name: dpdk-rdma, namespace: openshift-sriov-network-operator}
spec:
  networkNamespace: llm-test
  resourceName: dpdk
  metaPlugins: '{"type": "rdma"}'
"""
# of other rails, and of pods in a cluster
NOT_HERE = {"add-move", "add-rdma-move", "add-rxe", "add-rxe-move", "add-link", "add-addresses", "add-read-back", "add-announce", "del-rxe",
            "del-rdma-move", "add-delegate", "add-default-route", "add-cdi", "add-status", "del-cdi", "del-delegate"}
ONCE = {"add-journal", "add-allocate", "add-ready", "del-journal", "del-release", "del-forget"}
STEPS = subprocess.run([DRIVER, "/", "steps"], capture_output=True, text=True).stdout.split() if DRIVER.exists() else []

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not DRIVER.exists(), reason=f"{DRIVER} is not built")]


@pytest.fixture(scope="module")
def node(guest):
    """The node with an agent, as the policy wants it."""
    node = kvnode.Node(guest)
    guest.sh("modprobe vfio-pci")
    guest.put(MANIFEST, POLICY.encode())
    node.start()
    r = node.apply(MANIFEST)
    assert r.rc == 0, r
    node.before = settings(node)
    yield node
    node.kill()


@pytest.fixture
def make_pod(node):
    pods = []

    def make(name):
        pods.append(Pod(node.g, name, "llm-test/dpdk"))
        pods[-1].conflist["cniVersion"] = "1.1.0"
        pods[-1].start()
        return pods[-1]
    yield make
    for pod in pods:
        pod.process.signal(9)
        node.g.run(["ip", "netns", "del", pod.name])


def settings(node):
    """Of both VFs, on their port; and their drivers."""
    return node.g.sh("ip link show p0 | grep 'vf '; cd /sys/bus/pci/devices; for v in %s; do basename $(readlink $v/driver); done" % " ".join(VFS))


def vf(node, number):
    return node.g.sh(f"ip link show p0 | grep 'vf {number}'")


def test_a_policys_vfs_are_on_vfio_pci_and_free(node):
    assert settings(node).splitlines()[2:] == ["vfio-pci", "vfio-pci"]
    assert [(p["resource"].split("/")[1], p["free"], p["total"]) for p in node.status()["pools"]] == [("dpdk", 2, 2)]


def test_a_pod_gets_the_vf_with_its_settings_and_addresses_and_no_interface(node, make_pod):
    pod = make_pod("dpdk-0")
    pod.conflist["plugins"][0]["networks"] = [{"name": "dpdk", "namespace": "llm-test", "mac": "02:00:5e:10:00:01"}]
    pod.result = pod.cni("ADD")
    (interface,), (address,) = pod.result["interfaces"], pod.result["ips"]
    assert interface == {"name": "net1", "mac": "02:00:5e:10:00:01", "mtu": 9000, "sandbox": pod.netns, "pciID": VFS[0]}
    assert address["interface"] == 0 and address["address"].startswith("10.0.140.")
    assert [link["ifname"] for link in json.loads(pod.sh("ip -j link"))] == ["lo"]
    line = vf(node, 0)
    assert "02:00:5e:10:00:01" in line and "vlan 100, qos 3" in line and "spoof checking off" in line and "trust on" in line
    other = make_pod("dpdk-1")
    other.result = other.cni("ADD")
    admin = vf(node, 1).split("link/ether ")[1].split()[0]
    assert other.result["interfaces"][0]["pciID"] == VFS[1] and other.result["interfaces"][0]["mac"] == admin
    third = make_pod("dpdk-2")
    with pytest.raises(CniError, match="all 2 VFs of .*dpdk are taken"):
        third.cni("ADD")
    assert "net1 (vfio-pci: no interface)" in node.g.sh("kvrail status")
    for verb in ("env", "verify"):
        assert f"net1 is left out: VF {VFS[0]} is bound to vfio-pci" in node.g.run(f"kvrail {verb} dpdk-0").err
    assert "bound to vfio-pci: no interface that counts" in node.g.sh("kvrail top --interval 1")
    for p in (pod, other):
        p.cni("CHECK")
        p.cni("DEL")
    assert settings(node) == node.before and node.status()["attachments"] == [] and node.leases() == [] and node.files() == []


def test_rdma_of_its_own_is_refused(node, make_pod):
    pod = make_pod("dpdk-3")
    pod.conflist["plugins"][0]["networks"] = "llm-test/dpdk-rdma"
    with pytest.raises(CniError, match=r"asks for RDMA \(plugin .rdma.\), VF 0000:01:10.. is bound to vfio-pci and has no RDMA device"):
        pod.cni("ADD")
    assert settings(node) == node.before and node.leases() == []


# -- the engine alone, with the same VFs ------------------------------------------------------------------------------
def driver(node, command, conf, crash=None, verb="request", **env):
    env = {"KVRAIL_TEST_DEVICES": " ".join(VFS), "CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/usr/lib/cni",
           "CNI_NETNS": "/run/netns/pod", "CNI_ARGS": "K8S_POD_NAMESPACE=llm;K8S_POD_NAME=dpdk;K8S_POD_UID=u1",
           **({"KVRAIL_CRASH_AT": crash} if crash else {}), **env}
    words = " ".join(f"{k}='{v}'" for k, v in env.items())
    return node.g.run(f"{words} {DRIVER} {STATE} {verb} <<'EOF'\n{json.dumps(conf)}\nEOF", timeout=90)


CONF = {"cniVersion": "1.1.0", "name": "pod", "type": "kvrail", "networks": [{"name": "dpdk", "mac": "02:00:5e:10:00:02"}, {"name": "dpdk"}]}
META = {"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus", "delegates": [{"cniVersion": "0.4.0", "name": "default", "type": "ptp", "ipam": {
    "type": "host-local", "subnet": "10.244.9.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]}
IN_CLUSTER = {"KVRAIL_TEST_CLUSTER": "1"}


@pytest.fixture
def engine(node):
    node.g.sh(f"mkdir -p {STATE}/nads {STATE}/pods; modprobe veth; ip netns add pod")
    node.g.put(f"{STATE}/nads/llm.dpdk.json", json.dumps({
        "cniVersion": "1.0.0", "name": "dpdk", "type": "sriov", "vlan": 7, "spoofchk": "off", "trust": "on",
        "ipam": {"type": "whereabouts", "range": "10.88.0.0/24"}}).encode())
    yield node
    node.g.run("ip netns del pod")
    assert settings(node) == node.before
    assert json.loads(driver(node, "", "", verb="list").out) == [] and driver(node, "", "", verb="leases").out == ""


@pytest.mark.parametrize("step", [n for s in STEPS if s not in NOT_HERE for n in ([s] if s in ONCE else [s, s + "#1"])])
def test_a_kill_at_every_step_loses_nothing(engine, step):
    verb = "ADD" if step.startswith("add-") else "DEL"
    if verb == "DEL":
        r = driver(engine, "ADD", CONF)
        assert r.rc == 0, (r.out, r.err)
        assert settings(engine) != engine.before
    r = driver(engine, verb, CONF, crash=step)
    assert r.rc in (-9, 137), (r.rc, r.out, r.err)
    assert driver(engine, "", "", verb="recover").rc == 0
    if step == "del-journal":
        assert driver(engine, "DEL", CONF).rc == 0


def make_cluster_pod(node, **annotations):
    node.g.put(f"{STATE}/pods/llm.dpdk.json", json.dumps({
        "uid": "u1", "containers": [{"name": "main", "rdma": False, "devices": {"test/soft": VFS[:1]}}],
        "annotations": {"k8s.v1.cni.cncf.io/networks": "dpdk", **annotations}}).encode())


def test_network_status_has_the_device_and_its_addresses(engine):
    make_cluster_pod(engine)
    r = driver(engine, "ADD", META, **IN_CLUSTER)
    assert r.rc == 0, (r.out, r.err)
    _, status = json.loads(engine.g.get(f"{STATE}/status/llm.dpdk"))
    admin = vf(engine, 0).split("link/ether ")[1].split()[0]
    assert status == {"name": "llm/dpdk", "interface": "net1", "ips": ["10.88.0.1"], "mac": admin, "mtu": 9000, "dns": {}, "device-info": {
        "type": "pci", "version": "1.1.0", "pci": {"pci-address": VFS[0], "pf-pci-address": "0000:01:00.0"}}}
    device, = json.loads(engine.g.get(f"{STATE}/cdi/kvrail-c1.json"))["devices"]
    assert device["containerEdits"] == {"env": [f"KVRAIL_DEVICE={VFS[0]}"]}
    assert driver(engine, "CHECK", META, **IN_CLUSTER).rc == 0
    assert driver(engine, "DEL", META, **IN_CLUSTER).rc == 0


def test_a_pod_that_requires_rdma_is_told_why_not(engine):
    make_cluster_pod(engine, **{"kvrail.io/rdma": "required"})
    r = driver(engine, "ADD", META, **IN_CLUSTER)
    assert r.rc == 1 and f"kvrail.io/rdma: required, and VF {VFS[0]} is bound to vfio-pci: it has neither interface nor RDMA device" in r.out, r.out


def test_no_default_route_goes_by_it(engine):
    make_cluster_pod(engine, **{"k8s.v1.cni.cncf.io/networks": json.dumps([{"name": "dpdk", "default-route": ["10.88.0.254"]}])})
    r = driver(engine, "ADD", META, **IN_CLUSTER)
    assert r.rc == 1 and "default-route: net1 (network llm/dpdk)" in r.out, r.out
