# SPDX-License-Identifier: Apache-2.0
"""ADD and DEL on real VFs with soft RoCE, killed at every step. The engine runs without an agent (test/system/attach_driver)."""
import json
import os
import pathlib
import subprocess

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
DRIVER = TREE / os.environ.get("KVRAIL_BUILD", "build") / "test/system/attach_driver"
VFS = ["0000:01:10.0", "0000:02:10.0"]
STATE = "/var/lib/kvrail-test"
IPAM = {"type": "whereabouts", "range": "10.88.0.0/24"}
NAD = {"cniVersion": "1.0.0", "type": "sriov", "vlan": 0, "spoofchk": "off", "trust": "on", "link_state": "enable", "ipam": IPAM}
CONF = {"cniVersion": "1.1.0", "name": "pod", "type": "kvrail",
        "networks": [{"name": "p0", "mac": "02:00:5e:10:00:01"}, {"name": "p1", "interface": "rail1"}]}
STEPS = subprocess.run([DRIVER, "/", "steps"], capture_output=True, text=True).stdout.split() if DRIVER.exists() else []
ONCE = {"add-journal", "add-allocate", "add-ready", "del-journal", "del-release", "del-forget"}
CLUSTER = {"add-delegate", "add-default-route", "add-cdi", "add-status", "del-cdi", "del-delegate"}  # of pods in a cluster: test_meta.py
HARDWARE = {"add-rdma-move", "del-rdma-move"}  # igb has no RDMA device to move

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not DRIVER.exists(), reason=f"{DRIVER} is not built")]


class Node:
    def __init__(self, guest):
        self.g = guest
        guest.sh(f"""set -e
            for p in p0 p1; do ip link set $p mtu 9000 up; echo 2 >/sys/class/net/$p/device/sriov_numvfs; done
            mkdir -p {STATE}/nads""")
        guest.wait_for("[ $(ls -d /sys/class/net/p[01]/device/virtfn*/net/* | wc -l) = 4 ]", timeout=30)
        for name, vf in zip(["p0", "p1"], VFS):
            guest.put(f"{STATE}/nads/llm.{name}.json",
                      json.dumps({"name": name, "plugins": [{**NAD, "deviceID": vf}, {"type": "rdma"}, {"type": "tuning", "mtu": 9000}]}).encode())
        self.before = self.found()

    def found(self):
        """Names, MTU and MAC of the VFs, their settings on the PFs, RDMA devices of the node."""
        return self.g.sh("""for v in /sys/class/net/p[01]/device/virtfn*; do n=$(ls $v/net); echo $v $n $(cat $v/net/$n/mtu $v/net/$n/address); done
            ip link show p0 | grep vf; ip link show p1 | grep vf; rdma dev""")

    def driver(self, *args, stdin=None, **env):
        env = {"KVRAIL_TEST_DEVICES": " ".join(VFS), "KVRAIL_SOFT_ROCE": "1", **env}
        words = " ".join(f"{k}='{v}'" for k, v in env.items())
        here = f" <<'EOF'\n{stdin}\nEOF" if stdin else ""
        return self.g.run(f"{words} {DRIVER} {STATE} {' '.join(args)}{here}", timeout=90)

    def cni(self, command, conf=CONF, crash=None):
        env = {"KVRAIL_CRASH_AT": crash} if crash else {}
        return self.driver("request", stdin=json.dumps(conf), CNI_COMMAND=command, CNI_CONTAINERID="c1", CNI_IFNAME="net1", CNI_PATH="/p",
                           CNI_NETNS="/run/netns/pod", CNI_ARGS="K8S_POD_NAMESPACE=llm;K8S_POD_NAME=prefill", **env)

    def ok(self, *args, **kw):
        r = self.cni(*args, **kw)
        assert r.rc == 0, (r.out, r.err)
        return r.out

    def list(self):
        return json.loads(self.driver("list").out)

    def assert_clean(self):
        assert self.found() == self.before
        assert self.list() == [] and self.driver("leases").out == "" and self.g.sh(f"ls {STATE}/attach") == ""


@pytest.fixture(scope="module")
def node(guest):
    return Node(guest)


@pytest.fixture
def pod(node):
    node.g.sh("ip netns add pod")
    yield "pod"
    node.g.run("ip netns del pod")


def test_a_pod_gets_its_rails_with_rdma_and_a_measured_gid(node, pod):
    r = json.loads(node.ok("ADD"))
    assert [i["name"] for i in r["interfaces"]] == ["net1", "rail1"]
    assert [i["pciID"] for i in r["interfaces"]] == VFS
    assert r["interfaces"][0]["mac"] == "02:00:5e:10:00:01" and r["interfaces"][0]["mtu"] == 9000
    a, = node.list()
    for rail, ip in zip(a["rails"], r["ips"]):
        assert rail["soft"] and rail["gid"]["type"] == "RoCE v2" and rail["activeMtu"] == 4096 and rail["port"] == 1
        assert rail["linkLayer"] == "Ethernet"
        path = f"/sys/class/infiniband/{rail['rdma']}/ports/1/gids/{rail['gid']['index']}"
        assert node.g.sh(f"ip netns exec pod cat {path}") == rail["gid"]["gid"]
        assert ip["address"].startswith(rail["gid"]["address"])
        assert node.g.run(f"test -e {path}").rc != 0  # in the pod's namespace only
    assert any("link state" in w for w in a["warnings"])  # igb has none
    vf = node.g.sh("ip link show p0 | grep 'vf 0'")
    assert "02:00:5e:10:00:01" in vf and "spoof checking off" in vf and "trust on" in vf
    node.ok("CHECK", {**CONF, "prevResult": r})
    node.ok("DEL")
    node.assert_clean()


def test_a_link_state_that_cannot_be_had_fails_when_it_is_disable(node, pod):
    node.g.put(f"{STATE}/nads/llm.down.json", json.dumps({**NAD, "name": "down", "deviceID": VFS[0], "link_state": "disable"}).encode())
    r = node.cni("ADD", {**CONF, "networks": "down"})
    assert r.rc == 1 and "disable" in r.out
    node.assert_clean()


def steps():
    for s in STEPS:
        if s not in HARDWARE | CLUSTER:
            yield s
            if s not in ONCE:
                yield s + "#1"


@pytest.mark.parametrize("step", steps())
def test_a_kill_at_every_step_loses_nothing(node, pod, step):
    verb = "ADD" if step.startswith("add-") else "DEL"
    if verb == "DEL":
        node.ok("ADD")
    r = node.cni(verb, crash=step)
    assert r.rc in (-9, 137), (r.rc, r.out, r.err)
    assert node.driver("recover").rc == 0
    if step == "del-journal":
        assert node.list()[0]["state"] == "ready"
        node.ok("DEL")
    node.assert_clean()


def test_vfs_of_a_namespace_that_died_get_their_names_back(node, pod):
    node.ok("ADD")
    node.g.sh("ip netns del pod")
    assert node.driver("recover").rc == 0
    node.assert_clean()


def test_a_del_after_its_namespace_died_does_the_same(node, pod):
    node.ok("ADD")
    node.g.sh("ip netns del pod")
    node.ok("DEL")
    node.assert_clean()


# -- in a cluster ----------------------------------------------------------------------------------------------------
META = {"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus", "delegates": [{"cniVersion": "0.4.0", "name": "default", "type": "ptp", "ipam": {
    "type": "host-local", "subnet": "10.244.9.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]}
IN_CLUSTER = {"KVRAIL_TEST_CLUSTER": "1"}


def cluster(node, command, check=True):
    r = node.driver("request", stdin=json.dumps(META), CNI_COMMAND=command, CNI_CONTAINERID="c1", CNI_IFNAME="eth0", CNI_PATH="/usr/lib/cni",
                    CNI_NETNS="/run/netns/pod", CNI_ARGS="K8S_POD_NAMESPACE=llm;K8S_POD_NAME=prefill;K8S_POD_UID=u1", **IN_CLUSTER)
    assert not check or r.rc == 0, (r.out, r.err)
    return r.out


def make_pod(node, containers, **annotations):
    node.g.sh(f"modprobe veth; mkdir -p {STATE}/pods")
    for n in ("p0", "p1"):
        node.g.put(f"{STATE}/nads/llm.{n}.json", json.dumps({"name": n, "plugins": [NAD, {"type": "rdma"}, {"type": "tuning", "mtu": 9000}]}).encode())
    node.g.put(f"{STATE}/pods/llm.prefill.json", json.dumps({"uid": "u1", "containers": containers, "annotations": {
        "k8s.v1.cni.cncf.io/networks": "p0,p1", **annotations}}).encode())


def test_each_container_gets_the_nodes_of_its_own_rdma_device(node, pod):
    make_pod(node, [{"name": "main", "env": ["UCX_TLS"], "devices": {"test/soft": [VFS[0]]}}, {"name": "side", "devices": {"test/soft": [VFS[1]]}}])
    cluster(node, "ADD")
    spec = json.loads(node.g.get(f"{STATE}/cdi/kvrail-c1.json"))
    a, = json.loads(node.driver("list", **IN_CLUSTER).out)
    assert [d["name"] for d in spec["devices"]] == VFS
    paths = []
    for d, rail in zip(spec["devices"], a["rails"]):
        nodes = d["containerEdits"]["deviceNodes"]
        uverbs = [n for n in nodes if "uverbs" in n["path"]]
        assert len(uverbs) == 1 and "/dev/infiniband/rdma_cm" in [n["path"] for n in nodes]
        for n in nodes:
            assert node.g.sh(f"stat -c '%t:%T' {n['path']}") == f"{n['major']:x}:{n['minor']:x}"
        name = pathlib.Path(uverbs[0]["path"]).name
        assert node.g.sh(f"cat /sys/class/infiniband_verbs/{name}/ibdev") == rail["rdma"]
        env = dict(e.split("=", 1) for e in d["containerEdits"]["env"])
        assert env["UCX_NET_DEVICES"] == f"{rail['rdma']}:1" and env["NCCL_IB_GID_INDEX"] == str(rail["gid"]["index"])
        assert env["VLLM_NIXL_SIDE_CHANNEL_HOST"].startswith("10.244.9.") and ("UCX_TLS" in env) == (rail["ifname"] == "net2")
        paths += [uverbs[0]["path"]]
    assert len(set(paths)) == 2
    status = json.loads(node.g.get(f"{STATE}/status/llm.prefill"))
    assert [s["interface"] for s in status] == ["eth0", "net1", "net2"]
    for s, rail in zip(status[1:], a["rails"]):
        pci = s["device-info"]["pci"]
        assert pci["pci-address"] == rail["vf"] and pci["rdma-device"] == rail["rdma"] and pci["pf-pci-address"] == rail["pfPci"]
        assert s["mtu"] == 9000 and f"{s['ips'][0]}/24" == rail["addresses"][0]
    cluster(node, "CHECK")
    cluster(node, "DEL")
    node.assert_clean()
    assert node.g.sh(f"ls {STATE}/cdi {STATE}/cni/results") == f"{STATE}/cdi:\n\n{STATE}/cni/results:"


def test_soft_roce_meets_what_a_pod_requires_and_is_called_so(node, pod):
    make_pod(node, [{"name": "main", "devices": {"test/soft": VFS}}], **{"kvrail.io/rdma": "required"})
    cluster(node, "ADD")
    a, = json.loads(node.driver("list", **IN_CLUSTER).out)
    assert sum("is met by soft RoCE" in w for w in a["warnings"]) == 2
    assert "Warning RailWarning: net1: kvrail.io/rdma: required is met by soft RoCE" in node.g.get(f"{STATE}/events").decode()
    cluster(node, "DEL")
    node.assert_clean()


def test_the_hook_lifts_the_limit_of_the_container_it_is_told(node):
    node.g.sh("ulimit -l 64; sleep 60 & echo $! >/tmp/a; sleep 60 & echo $! >/tmp/b")
    a, b = (int(node.g.get(f"/tmp/{n}")) for n in "ab")
    state = json.dumps({"ociVersion": "1.2.0", "id": "x", "status": "creating", "pid": a, "bundle": "/run", "annotations": {"pid": str(b)}})
    node.g.sh(f"echo '{state}' | kvrail-cni memlock")
    limit = {p: node.g.sh(f"grep 'locked memory' /proc/{p}/limits").split()[3] for p in (a, b)}
    assert limit == {a: "unlimited", b: "65536"}
    node.g.sh(f"kill {a} {b}")
