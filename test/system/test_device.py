# SPDX-License-Identifier: Apache-2.0
"""The device plugin against a kubelet's side written on gRPC's own library, over trees of machines. No root, no hardware."""
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed: run tools/deps")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path += [str(ROOT / "test/trees"), str(ROOT / "test/system")]
import generate  # noqa: E402
from kubelet import Kubelet, encode  # noqa: E402

DRIVER = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "test/system/device_driver"
P2 = "openshift.io/p2rdma"
PF = "0000:5c:00.0"


def dell(vfs=4):
    """KServe's machine: both ports of a dual-port ConnectX-6 Dx on each socket, with VFs."""
    t = generate.Tree("node-dell-1")
    for p, name in enumerate(("p2", "p3")):
        generate.mlx5_port(t, f"0000:5c:00.{p}", "101d", name, f"mlx5_{p}", 0x5c, port=p, ports=2, bridges=("0000:5b:01.0",), root="pci0000:5b", vfs=vfs)
    for p, name in enumerate(("p12", "p13")):
        generate.mlx5_port(t, f"0000:bb:00.{p}", "101d", name, f"mlx5_{p + 2}", 0xbb, port=p, ports=2, numa=1, bridges=("0000:ba:01.0",),
                           root="pci0000:ba", vfs=vfs)
    return t


def hgx():
    t = generate.Tree("hgx-1")
    for bus, netdev, rdma, numa, (root, *bridges) in generate.DGX_RAILS:
        generate.mlx5_port(t, f"0000:{bus}:00.0", "1021", netdev, rdma, int(bus, 16), total=16, numa=numa, bridges=tuple(f"0000:{b}" for b in bridges),
                           root=f"pci0000:{root}", vfs=2)
    return t


def vfs_of(t, *pfs):
    out = []
    for pf in pfs:
        at = t.where[pf]
        netdev = next(p.split("/")[-2] for p in t.files if p.startswith(f"{at}/net/") and p.endswith("/mtu"))
        n = int(t.files[f"{at}/sriov_numvfs"])
        for i in range(n):
            pci = t.links[f"{at}/virtfn{i}"].split("/")[-1]
            out.append({"pci": pci, "pf": pf, "netdev": netdev, "index": i, "numa": int(t.files[f"{at}/numa_node"])})
    return out


class Node:
    """A tree of a machine, a kubelet, and the plugin as a process."""

    def __init__(self, tmp, tree, **options):
        self.tmp, self.tree = tmp, tree
        tree.write(tmp / "tree")
        for d in ("plugins", "dev/infiniband", "dev/net"):
            (tmp / d).mkdir(parents=True)
        for f in ["rdma_cm", *[f"uverbs{i}" for i in range(tree.verbs)]]:
            (tmp / "dev/infiniband" / f).touch()
        self.kubelet = Kubelet(tmp / "plugins", tmp / "podres.sock")
        self.options = {"root": str(tmp / "tree"), "kubeletDir": str(tmp / "plugins"), "podResources": str(tmp / "podres.sock"), "infoDir": str(tmp / "info"),
                        "devDir": str(tmp / "dev"), "holdMs": 600, "pollMs": 50, **options}
        self.process = None

    def start(self):
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}
        self.process = subprocess.Popen([DRIVER, json.dumps(self.options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.said, self.health, self.shown = [], [], queue.Queue()
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        return self

    def read(self, out):
        for line in out:
            v = json.loads(line)
            (self.shown.put(v) if isinstance(v, list) else self.health.append(v) if "health" in v else self.said.append(v))

    def order(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def offer(self, *vfs, name="p2rdma", prefix="openshift.io", more=(), **kw):
        self.order(update=[{"prefix": prefix, "name": name, "vfs": list(vfs), **kw}, *more])

    def show(self):
        self.order(show=True)
        return self.shown.get(timeout=10)

    def hold(self, **by):
        """pci (with _ for : and .) is cumbersome as a keyword: hold(**{pci: "ns/pod"})"""
        self.order(holders=[{"pci": pci, "namespace": who.split("/")[0], "name": who.split("/")[1]} for pci, who in by.items()])
        self.order(poke=True)

    def write(self, path, text):
        (self.tmp / "tree" / path).write_text(f"{text}\n")

    def stop(self, rc=0):
        if self.process:
            self.process.stdin.close()
            assert self.process.wait(timeout=20) == rc
            self.reader.join(5)
        self.process = None


@pytest.fixture
def node(tmp_path):
    made = []

    def make(tree=None, kubelet=True, **options):
        n = Node(tmp_path, tree or dell(), **options)
        if kubelet:
            n.kubelet.start()
        made.append(n.start())
        return n

    yield make
    for n in made:
        n.kubelet.stop()
        n.stop()


def eventually(f, timeout=10):
    end = time.monotonic() + timeout
    while True:
        try:
            v = f()
            if v:
                return v
            error = None
        except (AssertionError, OSError) as x:
            error = x
        assert time.monotonic() < end, error or "did not come true"
        time.sleep(0.02)


def test_resource_is_registered_and_its_vfs_are_listed_with_numa(node):
    n = node()
    vfs = vfs_of(n.tree, PF, "0000:bb:00.1")
    n.offer(*vfs, rdma=True)
    p = n.kubelet.plugin(P2)
    assert (n.tmp / "plugins/openshift.io_p2rdma.sock").is_socket()
    assert (n.tmp / "plugins/openshift.io_p2rdma.sock").stat().st_mode & 0o777 == 0o600
    assert p.options == {2: [1]}  # preferred allocation, no pre-start
    assert p.next() == {v["pci"]: ("Healthy", v["numa"]) for v in vfs}
    eventually(lambda: n.show()[0]["registered"])  # the kubelet asks for the list before its answer is here
    assert n.show() == [{"resource": P2, "registered": True, "total": 8, "healthy": 8, "allocations": 0,
                         "devices": [{"pci": v["pci"], "healthy": True} for v in vfs]}]


def test_topology_can_be_left_out(node):
    n = node()
    n.offer(*vfs_of(n.tree, PF), excludeTopology=True)
    assert {numa for _, numa in n.kubelet.plugin(P2).next().values()} == {None}


def test_list_is_swapped_in_place_and_only_news_is_pushed(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs[:2])
    p = n.kubelet.plugin(P2)
    assert sorted(p.next()) == [v["pci"] for v in vfs[:2]]
    n.offer(*vfs[:2])
    n.order(poke=True)
    n.offer(*vfs)
    assert sorted(p.next()) == [v["pci"] for v in vfs]
    n.offer()  # a resource without devices is told as one of none
    assert p.next() == {}
    time.sleep(0.3)
    assert p.news.empty() and not p.ended.is_set()
    assert n.kubelet.registered.empty()


def test_resource_that_goes_is_emptied_before_its_socket_goes(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs[:1], more=[{"prefix": "openshift.io", "name": "other", "vfs": vfs[1:2]}])
    p = n.kubelet.plugin(P2) if P2 not in n.kubelet.plugins else n.kubelet.plugins[P2]
    p.next()
    n.offer(*vfs[1:2], name="other")
    assert p.next() == {}
    assert p.ended.wait(10)
    eventually(lambda: not (n.tmp / "plugins/openshift.io_p2rdma.sock").exists())
    assert (n.tmp / "plugins/openshift.io_other.sock").is_socket()
    assert [r["resource"] for r in n.show()] == ["openshift.io/other"]


def test_allocate_gives_the_go_plugins_environment_and_nodes(node):
    n = node(dell(2))
    pf = n.tree.where[PF]
    vfs = vfs_of(n.tree, PF)
    for f in ("umad3", "issm3"):
        n.write_dir = n.tmp / "tree" / n.tree.where[vfs[0]["pci"]] / "infiniband_mad" / f
        n.write_dir.mkdir(parents=True)
        (n.tmp / "dev/infiniband" / f).touch()
    n.offer(*vfs, name="p2-rdma", rdma=True)
    p = n.kubelet.plugin("openshift.io/p2-rdma")
    got = p.allocate(vfs[1]["pci"], vfs[0]["pci"])
    a, b = vfs[0]["pci"], vfs[1]["pci"]
    assert got["env"] == {
        "PCIDEVICE_OPENSHIFT_IO_P2-RDMA": f"{b},{a}",
        "PCIDEVICE_OPENSHIFT_IO_P2-RDMA_INFO": json.dumps({
            a: {"generic": {"deviceID": a}, "rdma": {"issm": "/dev/infiniband/issm3", "rdma_cm": "/dev/infiniband/rdma_cm", "rdma_dev": "mlx5_0v0",
                                                     "umad": "/dev/infiniband/umad3", "uverbs": "/dev/infiniband/uverbs1"}},
            b: {"generic": {"deviceID": b}, "rdma": {"rdma_cm": "/dev/infiniband/rdma_cm", "rdma_dev": "mlx5_0v1", "uverbs": "/dev/infiniband/uverbs2"}},
        }, separators=(",", ":"))}
    assert got["devices"] == [(f"/dev/infiniband/{f}", f"/dev/infiniband/{f}", "rw") for f in ("uverbs2", "rdma_cm", "uverbs1", "umad3", "issm3")]
    assert (got["mounts"], got["annotations"], got["cdi"]) == ([], {}, [])
    info = n.tmp / f"info/openshift.io-p2-rdma-{a}-device.json"
    assert json.loads(info.read_text()) == {"type": "pci", "version": "1.1.0", "pci": {"pci-address": a, "rdma-device": "mlx5_0v0", "pf-pci-address": PF}}
    assert info.stat().st_mode & 0o777 == 0o444 and pf
    assert n.show()[0]["allocations"] == 1


def test_without_is_rdma_a_vf_is_its_network_only(node, tmp_path):
    """Whatever RDMA device it has: the policy did not ask for it."""
    n = node(cdiDir=str(tmp_path / "cdi"))
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs)
    p, vf = n.kubelet.plugin(P2), vfs[0]["pci"]
    got = p.allocate(vf)
    assert got["env"]["PCIDEVICE_OPENSHIFT_IO_P2RDMA_INFO"] == json.dumps({vf: {"generic": {"deviceID": vf}}}, separators=(",", ":"))
    assert got["devices"] == [] and got["cdi"] == [f"kvrail.io/vf={vf}"]
    assert "deviceNodes" not in early(n)[f"kvrail-allocated-{vf}.json"]["devices"][0]["containerEdits"]
    assert json.loads((n.tmp / f"info/openshift.io-p2rdma-{vf}-device.json").read_text())["pci"] == {"pci-address": vf, "pf-pci-address": PF}


def early(n):
    return {f.name: json.loads(f.read_text()) for f in (n.tmp / "cdi").iterdir()} if (n.tmp / "cdi").exists() else {}


def test_with_cdi_the_nodes_of_rdma_come_by_name(node, tmp_path):
    n = node(cdiDir=str(tmp_path / "cdi"), envDir=str(tmp_path / "env"))
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs, rdma=True)
    got = n.kubelet.plugin(P2).allocate(vfs[0]["pci"], vfs[2]["pci"])
    assert got["cdi"] == [f"kvrail.io/vf={vfs[0]['pci']}", f"kvrail.io/vf={vfs[2]['pci']}"]
    assert got["devices"] == [] and got["mounts"] == [] and not (tmp_path / "env").exists()
    assert got["env"]["PCIDEVICE_OPENSHIFT_IO_P2RDMA"] == f"{vfs[0]['pci']},{vfs[2]['pci']}"
    # a pod without an ADD of ours finds what it was promised all the same
    assert sorted(early(n)) == [f"kvrail-allocated-{vfs[i]['pci']}.json" for i in (0, 2)]
    spec = early(n)[f"kvrail-allocated-{vfs[2]['pci']}.json"]
    assert spec["kind"] == "kvrail.io/vf" and [d["name"] for d in spec["devices"]] == [vfs[2]["pci"]]


def test_specification_of_a_given_vf_comes_back_after_a_reboot_and_goes_with_its_pod(node, tmp_path):
    n = node(cdiDir=str(tmp_path / "cdi"))
    vfs = vfs_of(n.tree, PF)
    a, b, c, d = (v["pci"] for v in vfs)
    n.kubelet.pods[("llm", "host")] = {"main": {P2: [a]}}  # given, not attached: on the host's network
    n.kubelet.pods[("llm", "spare")] = {"main": {P2: [d]}}  # no network takes it, and its pod's ADD named it
    n.kubelet.pods[("llm", "rail")] = {"main": {P2: [b]}}  # attached: its ADD wrote one
    (tmp_path / "cdi").mkdir()
    old = tmp_path / f"cdi/kvrail-allocated-{c}.json"  # of a pod that is gone
    other = tmp_path / "cdi/vendor.json"
    attached = tmp_path / "cdi/kvrail-4711.json"
    attached.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "kvrail.io/vf", "devices": [
        {"name": v, "containerEdits": {"env": ["A=b"]}} for v in (b, d)]}))
    (tmp_path / f"cdi/kvrail-allocated-{d}.json").write_text("{}")
    for f in (old, other):
        f.write_text("{}")
        os.utime(f, (time.time() - 100, time.time() - 100))
    n.order(holders=[{"pci": b, "namespace": "llm", "name": "rail", "requested": True}])
    n.offer(*vfs)
    n.kubelet.plugin(P2).next()
    eventually(lambda: sorted(early(n)) == ["kvrail-4711.json", f"kvrail-allocated-{a}.json", "vendor.json"])
    n.order(poke=True)
    time.sleep(0.3)
    assert len(early(n)) == 3
    attached.unlink()
    n.order(holders=[])  # detached, and the kubelet does not know yet that the pod is gone
    n.order(poke=True)
    eventually(lambda: sorted(early(n)) == [f"kvrail-allocated-{a}.json", f"kvrail-allocated-{d}.json", "vendor.json"])  # none for b, which was attached
    n.kubelet.pods.clear()
    n.order(poke=True)
    eventually(lambda: sorted(early(n)) == ["vendor.json"])


def test_without_cdi_the_environment_is_a_file_that_is_mounted(node, tmp_path):
    env = tmp_path / "env"
    n = node(envDir=str(env))
    vfs = [v["pci"] for v in vfs_of(n.tree, PF)]
    env.mkdir()
    (env / f"{vfs[1]}.env").write_text("export A=b\n")  # its ADD was quicker, or the agent was restarted meanwhile
    (env / f"{vfs[3]}.env").write_text("")  # of a pod that is gone
    os.utime(env / f"{vfs[3]}.env", (time.time() - 100, time.time() - 100))
    n.kubelet.pods[("llm", "pod")] = {"main": {P2: vfs[:2]}}
    n.offer(*vfs_of(n.tree, PF), rdma=True)
    got = n.kubelet.plugin(P2).allocate(vfs[0], vfs[1])
    assert got["mounts"] == [(f"{env}/{v}.env", f"{env}/{v}.env", 1) for v in vfs[:2]]
    assert got["devices"] and got["cdi"] == []
    assert (env / f"{vfs[0]}.env").read_text().startswith("# no rail") and (env / f"{vfs[1]}.env").read_text() == "export A=b\n"
    eventually(lambda: {f.name for f in env.iterdir()} == {f"{v}.env" for v in vfs[:2]})


def vfio():
    """A machine whose one VF of PF is bound to vfio-pci, and that VF."""
    t = dell(1)
    vf = vfs_of(t, PF)[0]
    t.bind(vf["pci"], "vfio-pci")
    t.link(f"{t.where[vf['pci']]}/iommu_group", "sys/kernel/iommu_groups/42")
    for p in [p for p in t.files if p.startswith(f"{t.where[vf['pci']]}/net/") or p.startswith(f"{t.where[vf['pci']]}/infiniband")]:
        del t.files[p]
    for p in [p for p in t.links if t.where[vf["pci"]] in p and ("/net/" in p or "/infiniband/" in p)]:
        del t.links[p]
    t.errors = [e for e in t.errors if vf["pci"] not in e]
    return t, vf


def test_vfio_and_vhost_nodes_are_given_also_with_cdi_and_where_the_agent_sees_no_node(node, tmp_path):
    t, vf = vfio()
    for module in ("vhost-net", "tun"):
        t.file(f"sys/class/misc/{module}/uevent", f"DEVNAME={module}")
    n = node(t, cdiDir=str(tmp_path / "cdi"))
    n.offer(vf, vhostNet=True)
    got = n.kubelet.plugin(P2).allocate(vf["pci"])
    assert [d[0] for d in got["devices"]] == ["/dev/vfio/42", "/dev/vfio/vfio", "/dev/vhost-net", "/dev/net/tun"]
    info = json.loads(got["env"]["PCIDEVICE_OPENSHIFT_IO_P2RDMA_INFO"])[vf["pci"]]
    assert info["vfio"] == {"dev-mount": "/dev/vfio/42", "mount": "/dev/vfio/vfio"}
    assert info["vhost"] == {"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"}
    assert not [s for s in n.said if "needVhostNet" in s["say"]]


def test_vhost_nodes_are_not_given_where_there_are_none_which_is_said(node):
    t, vf = vfio()
    n = node(t)
    (n.tmp / "dev/net/tun").touch()
    n.offer(vf, vhostNet=True)
    got = n.kubelet.plugin(P2).allocate(vf["pci"])
    assert [d[0] for d in got["devices"]] == ["/dev/vfio/42", "/dev/vfio/vfio", "/dev/net/tun"]
    eventually(lambda: [s for s in n.said if "there is no /dev/vhost-net on this node: modprobe" in s["say"]])


def test_a_vfio_group_without_an_iommu_has_its_node_of_the_host(node):
    t, vf = vfio()
    t.file("sys/kernel/iommu_groups/42/name", "vfio-noiommu")
    n = node(t)
    n.offer(vf)
    got = n.kubelet.plugin(P2).allocate(vf["pci"])
    assert got["devices"] == [("/dev/vfio/42", "/dev/vfio/noiommu-42", "rw"), ("/dev/vfio/vfio", "/dev/vfio/vfio", "rw")]
    info = json.loads(got["env"]["PCIDEVICE_OPENSHIFT_IO_P2RDMA_INFO"])[vf["pci"]]
    assert info["vfio"] == {"dev-mount": "/dev/vfio/42", "mount": "/dev/vfio/vfio"}


def test_unknown_device_is_an_error_that_names_it(node):
    n = node()
    n.offer(*vfs_of(n.tree, PF))
    with pytest.raises(grpc.RpcError) as e:
        n.kubelet.plugin(P2).allocate("0000:99:00.0")
    assert e.value.code() == grpc.StatusCode.NOT_FOUND
    assert e.value.details() == f"{P2} has no device 0000:99:00.0"
    eventually(lambda: any(s["bad"] and "0000:99:00.0" in s["say"] for s in n.said))


def test_bytes_that_are_no_request_are_refused(node):
    n = node()
    n.offer(*vfs_of(n.tree, PF))
    p = n.kubelet.plugin(P2)
    for method in ("Allocate", "GetPreferredAllocation"):
        with pytest.raises(grpc.RpcError) as e:
            p.call(method, b"\xff\xff\xff")
        assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as e:
        p.call("Unknown", b"")
    assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_shares_are_many_and_give_nothing(node):
    n = node()
    n.offer(*vfs_of(n.tree, PF), more=[{"prefix": "rdma", "name": "roce_gdr", "shares": 1000}])
    p = n.kubelet.plugin("rdma/roce_gdr")
    assert p.next() == {f"roce_gdr-{i}": ("Healthy", None) for i in range(1000)}
    assert p.options == {}
    got = p.allocate("roce_gdr-17")
    assert got == {"env": {}, "cdi": [], "mounts": [], "annotations": {}, "devices": []}


def test_link_that_stays_down_makes_vfs_unhealthy_and_they_recover_at_once(node):
    n = node(holdMs=2000)
    vfs = vfs_of(n.tree, PF, "0000:bb:00.0")
    n.offer(*vfs, rdma=True)
    p = n.kubelet.plugin(P2)
    p.next()
    n.write("sys/class/net/p2/carrier", 0)
    began = time.monotonic()
    p.until_healthy([v["pci"] for v in vfs[4:]])
    assert time.monotonic() - began >= 1.9  # holdMs
    assert "port p2 has no carrier" in n.show()[0]["devices"][0]["reason"]
    assert sorted(h["health"] for h in n.health) == [v["pci"] for v in vfs[:4]]
    assert all(h["resource"] == P2 and not h["healthy"] and "no carrier" in h["reason"] for h in n.health)
    n.write("sys/class/net/p2/carrier", 1)
    began = time.monotonic()
    p.until_healthy([v["pci"] for v in vfs])
    assert time.monotonic() - began < 1.9
    assert not p.ended.is_set() and n.kubelet.registered.empty()


def test_link_that_flaps_is_not_told(node):
    n = node(holdMs=3000)
    n.offer(*vfs_of(n.tree, PF))
    p = n.kubelet.plugin(P2)
    p.next()
    for _ in range(10):
        n.write("sys/class/net/p2/carrier", 0)
        time.sleep(0.2)
        n.write("sys/class/net/p2/carrier", 1)
        time.sleep(0.2)
    assert p.news.empty() and not n.health


@pytest.mark.parametrize("path, text, want", [
    ("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN", "RDMA port mlx5_0/1 is 1: DOWN"),
    ("sys/class/net/p2/flags", "0x1002", "ip link set p2 up"),
])
def test_port_states_are_told_with_their_reason(node, path, text, want):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs, rdma=True)
    p = n.kubelet.plugin(P2)
    p.next()
    n.write(path, text)
    p.until_healthy([])
    assert all(want in d["reason"] for d in n.show()[0]["devices"])


def test_vf_without_driver_and_vf_that_is_gone(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs)
    p = n.kubelet.plugin(P2)
    p.next()
    (n.tmp / "tree/sys/bus/pci/devices" / vfs[1]["pci"]).unlink()
    (n.tmp / "tree" / n.tree.where[vfs[2]["pci"]] / "driver").unlink()
    p.until_healthy([vfs[0]["pci"], vfs[3]["pci"]])
    reasons = [d.get("reason", "") for d in n.show()[0]["devices"]]
    assert "not on the PCI bus" in reasons[1] and "no driver" in reasons[2]


def test_kubelet_that_starts_anew_is_told_again(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs)
    n.kubelet.plugin(P2).next()
    for _ in range(3):
        n.kubelet.stop()
        n.kubelet.start()  # removes our socket, as a kubelet does
        p = n.kubelet.plugin(P2)
        assert len(p.next()) == 4
        assert p.allocate(vfs[0]["pci"])["env"]


def test_kubelet_that_begins_to_listen_is_told_within_milliseconds(node):
    """Between the bind() that inotify sees and the listen() there is nobody to talk to; what it admits meanwhile it refuses."""
    n = node(pollMs=60000)  # by inotify alone
    n.offer(*vfs_of(n.tree, PF))
    n.kubelet.plugin(P2).next()
    n.kubelet.stop()
    took = []
    for _ in range(9):
        (n.tmp / "plugins/kubelet.sock").unlink(missing_ok=True)
        (n.tmp / "plugins/openshift.io_p2rdma.sock").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(n.tmp / "plugins/kubelet.sock"))
            time.sleep(0.01)
            s.listen()
            began = time.monotonic()
            s.settimeout(10)
            s.accept()[0].close()
            took.append(time.monotonic() - began)
    assert sorted(took)[4] < 0.05, took


def test_kubelet_whose_socket_has_the_number_of_the_last_one_is_told_at_once(node, tmp_path):
    n = node(pollMs=60000)
    n.offer(*vfs_of(n.tree, PF))
    n.kubelet.plugin(P2).next()
    n.kubelet.stop()
    kubelet = n.tmp / "plugins/kubelet.sock"
    kubelet.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(kubelet))
        os.link(kubelet, tmp_path / "kept")
        (n.tmp / "plugins/openshift.io_p2rdma.sock").unlink()
        time.sleep(3.3)  # the next try is 2 s away
        s.listen()
        n.process.send_signal(signal.SIGSTOP)  # it sees only what came of it
        kubelet.unlink()
        os.link(tmp_path / "kept", kubelet)
        n.process.send_signal(signal.SIGCONT)
        s.settimeout(1)
        s.accept()[0].close()


def test_kubelet_that_no_longer_watches_is_told_again(node):
    """As when it takes the end of an old plugin's stream for that of the one that just registered."""
    n = node()
    n.offer(*vfs_of(n.tree, PF))
    for _ in range(2):
        n.kubelet.plugin(P2).next()
        n.kubelet.plugins.pop(P2).close()
    assert len(n.kubelet.plugin(P2).next()) == 4
    time.sleep(2.5)
    assert n.kubelet.registered.empty()  # while it watches, once


def test_socket_that_was_removed_comes_back(node):
    n = node(pollMs=60000)  # by inotify alone
    n.offer(*vfs_of(n.tree, PF))
    n.kubelet.plugin(P2).next()
    (n.tmp / "plugins/openshift.io_p2rdma.sock").unlink()
    assert len(n.kubelet.plugin(P2).next()) == 4


def test_kubelet_that_is_not_there_yet_is_waited_for(node):
    n = node(kubelet=False)
    shutil.rmtree(n.tmp / "plugins")
    n.offer(*vfs_of(n.tree, PF))
    eventually(lambda: "problem" in n.show()[0])
    (n.tmp / "plugins").mkdir()
    n.kubelet.start()
    assert len(n.kubelet.plugin(P2, timeout=15).next()) == 4
    eventually(lambda: n.show()[0] and "problem" not in n.show()[0])


def test_held_vf_that_the_kubelet_knows_of_stays_healthy(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.kubelet.pods[("llm", "prefill-0")] = {"main": {P2: [vfs[1]["pci"]]}}
    n.offer(*vfs)
    p = n.kubelet.plugin(P2)
    p.next()
    for d in ("net", "infiniband"):  # it is in the pod's namespace
        for f in (n.tmp / "tree" / n.tree.where[vfs[1]["pci"]] / d).iterdir():
            shutil.rmtree(f)
    n.hold(**{vfs[1]["pci"]: "llm/prefill-0"})
    time.sleep(1)
    assert p.healthy() == sorted(v["pci"] for v in vfs) and not n.health


def test_vf_that_another_plugin_moved_into_its_pod_stays_healthy(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs, rdma=True)
    p = n.kubelet.plugin(P2)
    p.next()
    p.allocate(vfs[1]["pci"])
    n.kubelet.pods[("llm", "other-cni")] = {"main": {P2: [vfs[1]["pci"]]}}
    for vf in vfs[1:3]:  # the second one is gone without anybody's word
        for d in ("net", "infiniband"):
            for f in (n.tmp / "tree" / n.tree.where[vf["pci"]] / d).iterdir():
                shutil.rmtree(f)
    p.until_healthy([v["pci"] for v in vfs if v is not vfs[2]])
    time.sleep(0.7)
    assert len(p.lists) == 2


def test_vf_of_a_pod_that_the_kubelet_forgot_is_never_given(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    held, free = vfs[0]["pci"], [v["pci"] for v in vfs[1:]]
    n.order(holders=[{"pci": held, "namespace": "llm", "name": "prefill-0"}])
    n.offer(*vfs)  # the kubelet's checkpoint was deleted: its pod resources are empty
    p = n.kubelet.plugin(P2)
    p.until_healthy(free)
    assert "held by pod llm/prefill-0, of which the kubelet has no record" in n.show()[0]["devices"][0]["reason"]
    assert held not in p.preferred([held, *free], 4) and len(p.preferred([held, *free], 4)) == 3
    with pytest.raises(grpc.RpcError) as e:
        p.allocate(held)
    assert e.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert f"{held} is held by pod llm/prefill-0" in e.value.details()
    n.hold()  # the pod is gone
    p.until_healthy([held, *free])
    assert p.allocate(held)["env"]


def test_forgotten_pod_that_asked_for_its_vf_is_not_counted_twice(node):
    """Its request is in the sums of kubelet and scheduler: were its VF unhealthy too, a free one could not be had."""
    n = node()
    vfs = vfs_of(n.tree, PF)
    held, free = vfs[0]["pci"], [v["pci"] for v in vfs[1:]]
    n.order(holders=[{"pci": held, "namespace": "llm", "name": "prefill-0", "requested": True}])
    n.offer(*vfs)
    p = n.kubelet.plugin(P2)
    assert {h for h, _ in p.next().values()} == {"Healthy"}
    for size in (1, 2, 3):
        assert set(p.preferred([held, *free], size)) <= set(free) and len(p.preferred([held, *free], size)) == size
    with pytest.raises(grpc.RpcError) as e:
        p.allocate(held)
    assert f"{held} is held by pod llm/prefill-0" in e.value.details()
    assert not n.health and p.news.empty()


def test_pod_that_comes_is_not_taken_for_a_stranger(node):
    """The kubelet is asked after the pod is seen to hold its VF, however old its last answer is."""
    n = node(pollMs=20)
    vfs = vfs_of(n.tree, PF)
    n.kubelet.pods[("llm", "old")] = {"main": {P2: [vfs[0]["pci"]]}}
    n.offer(*vfs)
    p = n.kubelet.plugin(P2)
    p.next()
    n.hold(**{vfs[0]["pci"]: "llm/old"})
    time.sleep(0.3)
    n.kubelet.pods[("llm", "new")] = {"main": {P2: [vfs[1]["pci"]]}}
    n.order(holders=[{"pci": v["pci"], "namespace": "llm", "name": w} for v, w in zip(vfs, ("old", "new"))])  # without a poke
    time.sleep(0.5)
    assert p.news.empty() and not n.health


def test_allocation_waits_for_a_pod_that_is_on_its_way_out(node):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs)
    p = n.kubelet.plugin(P2)
    p.next()
    n.order(holders=[{"pci": vfs[0]["pci"], "namespace": "llm", "name": "going"}])
    threading.Timer(0.8, lambda: n.order(holders=[])).start()
    assert p.allocate(vfs[0]["pci"])["env"]


def test_device_info_of_live_pods_stays_the_rest_goes(node):
    n = node()
    n.stop()
    vfs = vfs_of(n.tree, PF)
    info = n.tmp / "info"
    info.mkdir()
    names = {v["pci"]: info / f"openshift.io-p2rdma-{v['pci']}-device.json" for v in vfs}
    other = info / f"openshift.io-p2rdma-x-{vfs[3]['pci']}-device.json"  # of a resource whose name goes on
    for f in [*names.values(), other]:
        f.write_text("{}")
    n.kubelet.pods[("llm", "given")] = {"main": {P2: [vfs[1]["pci"]]}}
    n.start()
    n.order(holders=[{"pci": vfs[0]["pci"], "namespace": "llm", "name": "held"}])
    n.offer(*vfs)
    n.kubelet.plugin(P2).next()
    left = {names[vfs[0]["pci"]].name, names[vfs[1]["pci"]].name, other.name}
    assert {f.name for f in info.iterdir()} == left
    n.stop()
    assert {f.name for f in info.iterdir()} == left
    assert not (n.tmp / "plugins/openshift.io_p2rdma.sock").exists()


def test_preferred_rails_of_a_dgx_are_ports_of_one_socket(node):
    n = node(hgx())
    vfs = vfs_of(n.tree, *[f"0000:{r[0]}:00.0" for r in generate.DGX_RAILS])
    n.offer(*vfs, name="rails")
    p = n.kubelet.plugin("openshift.io/rails")
    all_ids = [v["pci"] for v in vfs]
    by = {v["pci"]: v for v in vfs}
    four = [by[i] for i in p.preferred(all_ids, 4)]
    assert len({v["pf"] for v in four}) == 4 and len({v["numa"] for v in four}) == 1
    eight = [by[i] for i in p.preferred(all_ids, 8)]
    assert len({v["pf"] for v in eight}) == 8
    # the last rail of socket 1 is in: three more of that socket
    must = vfs[-1]["pci"]
    got = p.preferred(all_ids, 4, [must])
    assert must in got and {by[i]["numa"] for i in got} == {1} and len({by[i]["pf"] for i in got}) == 4


def test_preferred_two_rails_are_the_two_ports_of_one_card(node):
    n = node()
    vfs = vfs_of(n.tree, PF, "0000:5c:00.1", "0000:bb:00.0", "0000:bb:00.1")
    n.offer(*vfs, name="rails")
    p = n.kubelet.plugin("openshift.io/rails")
    by = {v["pci"]: v["pf"] for v in vfs}
    assert {by[i] for i in p.preferred(list(by), 2)} == {PF, "0000:5c:00.1"}
    only = [i for i in by if by[i] in (PF, "0000:bb:00.0", "0000:bb:00.1")]
    assert {by[i] for i in p.preferred(only, 2)} == {"0000:bb:00.0", "0000:bb:00.1"}
    assert p.preferred([], 2) == [] and p.preferred(["0000:99:00.0"], 1) == []


def test_plugin_killed_at_any_moment_serves_again_and_gives_nothing_twice(node):
    n = node()
    random.seed(7)
    vfs = [v["pci"] for v in vfs_of(n.tree, PF)]
    held = {}
    for i in range(12):
        n.order(holders=[{"pci": v, "namespace": "llm", "name": w, "requested": True} for v, w in held.items()])
        n.offer(*vfs_of(n.tree, PF))
        if i % 3 == 2:  # killed before, while or after it registers
            time.sleep(random.random() * 0.3)
        else:
            p = n.kubelet.plugin(P2)
            assert len(p.next()) == 4
            want = p.preferred(vfs, 1)
            assert not set(want) & set(held)
            for v in want:
                assert p.allocate(v)["env"]
                held[v] = f"pod-{i}"
            for v in list(held)[:len(held) - 3]:
                del held[v]
        n.process.kill()
        n.process.wait()
        time.sleep(0.1)
        while not n.kubelet.registered.empty():  # of the one that was killed
            n.kubelet.registered.get()
        n.start()
    n.order(holders=[])
    n.offer(*vfs_of(n.tree, PF))
    assert len(n.kubelet.plugin(P2).next()) == 4
    assert sorted(f.name for f in (n.tmp / "plugins").iterdir()) == ["kubelet.sock", "openshift.io_p2rdma.sock"]


@pytest.mark.parametrize("resource, want", [
    ({"prefix": "", "name": "p2"}, "has no prefix: the kubelet takes names of the form DOMAIN/NAME only"),
    ({"prefix": "openshift.io/x", "name": "p2"}, "resource prefix \"openshift.io/x\""),
    ({"prefix": "openshift.io", "name": "../p2"}, "resource name \"../p2\""),
    ({"prefix": "openshift.io", "name": "p" * 64}, "at most 63"),
    ({"prefix": "rdma", "name": "roce", "shares": 10001}, "10001 shares are more than 10000"),
])
def test_names_that_the_kubelet_would_refuse_are_refused_and_nothing_changes(node, resource, want):
    n = node()
    vfs = vfs_of(n.tree, PF)
    n.offer(*vfs)
    n.kubelet.plugin(P2).next()
    n.order(update=[resource])
    eventually(lambda: any(want in s["say"] for s in n.said))
    n.order(update=[{"prefix": "a.io", "name": "x"}, {"prefix": "a.io", "name": "x"}])
    eventually(lambda: any("a.io/x is given twice" in s["say"] for s in n.said))
    assert n.show()[0]["total"] == 4 and len(n.show()) == 1


def test_long_lists_survive_flow_control_and_many_changes(node):
    n = node()
    vfs = [{"pci": f"{d:04x}:{b:02x}:{x:02x}.0", "pf": PF, "netdev": "p2", "index": d * 1000 + b * 32 + x, "numa": 0}
           for d in range(4) for b in range(32) for x in range(32)]
    n.offer(*vfs)
    p = n.kubelet.plugin(P2)
    assert len(p.next(20)) == 4096
    for k in range(10):
        n.offer(*vfs[k + 1:])
    while len(p.next(20)) != 4096 - 10:
        pass


def test_two_kubelets_watch_and_a_third_generation_is_not_starved(node):
    n = node()
    n.offer(*vfs_of(n.tree, PF))
    p = n.kubelet.plugin(P2)
    p.next()
    from kubelet import Plugin
    for _ in range(12):  # each leaves without a word
        q = Plugin(n.tmp / "plugins", "openshift.io_p2rdma.sock", P2)
        assert len(q.next()) == 4
        q.close()
        assert q.ended.wait(5)
    n.offer()
    assert p.next() == {}


def test_share_of_memory_is_small(node, tmp_path):
    release = ROOT / "build/test/system/device_driver"
    if not release.exists():
        pytest.skip("the release build is not there: run ninja -C build")
    global DRIVER
    before, DRIVER = DRIVER, release
    try:
        n = node(pollMs=100)
    finally:
        DRIVER = before

    def rss():
        return sum(int(line.split()[1]) for line in open(f"/proc/{n.process.pid}/smaps_rollup") if line.startswith("Private_"))

    n.show()
    empty = rss()
    vfs = vfs_of(n.tree, PF, "0000:5c:00.1", "0000:bb:00.0", "0000:bb:00.1")
    n.offer(*vfs, more=[{"prefix": "rdma", "name": "roce_gdr", "shares": 100}])
    p = n.kubelet.plugin("rdma/roce_gdr") if P2 in n.kubelet.plugins else n.kubelet.plugin(P2)
    for _ in range(50):
        p.allocate(vfs[0]["pci"] if p.resource == P2 else "roce_gdr-1")
    time.sleep(0.5)
    print(f"device plugin: {empty} kB before, {rss()} kB with 17 devices served")
    assert rss() - empty < 1024
    assert encode((1, "x")) == b"\x0a\x01x"
