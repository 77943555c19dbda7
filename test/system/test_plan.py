# SPDX-License-Identifier: Apache-2.0
"""kvrail inventory and kvrail plan over trees of machines (test/trees/generate.py): no root, no agent, no hardware."""
import json
import os
import pathlib
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KVRAIL = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail"
UPSTREAM = pathlib.Path(os.environ.get("KVRAIL_UPSTREAM", ROOT.parent / "shared/upstream"))
OWN = ROOT / "docs/examples/network-roce.yaml"
KSERVE = UPSTREAM / "kserve/network-roce.yaml"
KINDS = ("dell-cx6dx hgx-h100 e810 x710 igb no-sriov broken bench-16x16 switchdev bond states ib guest-vf gb200 many-vfs").split()


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    subprocess.run(["/usr/bin/python3", ROOT / "test/trees/generate.py", folder], check=True)
    return folder


def kvrail(*args, rc=0, **kw):
    r = subprocess.run([KVRAIL, *map(str, args)], capture_output=True, text=True, timeout=120, **kw)
    assert r.returncode == rc, r.stdout + r.stderr
    return r


def inventory(tree):
    return json.loads(kvrail("inventory", "--root", tree, "-o", "json").stdout)


def ports(tree):
    return {p["pciAddress"]: p for p in inventory(tree)["ports"]}


def plan(tree, manifest, rc=0):
    text = kvrail("plan", "--root", tree, "-f", "-", "-o", "json", rc=rc, input=json.dumps(manifest)).stdout
    return json.loads(text)


def policy(name="p", pf=None, **spec):
    selector = {"pfNames": [pf]} if pf else spec.pop("nicSelector")
    return {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy", "metadata": {"name": name},
            "spec": {"resourceName": name, "nodeSelector": {}, "nicSelector": selector, "numVfs": 4, **spec}}


@pytest.mark.parametrize("source", [KSERVE, OWN], ids=["kserve", "own"])
def test_network_roce_plans_8_vfs_at_mtu_9000_on_p2_and_p13(trees, source):
    if source == KSERVE and not source.exists():
        pytest.skip(f"KServe's manifests are not at {UPSTREAM} (KVRAIL_UPSTREAM)")
    p = json.loads(kvrail("plan", "-f", source, "--root", trees / "dell-cx6dx", "-o", "json").stdout)
    assert [(port["name"], port["pciAddress"]) for port in p["ports"]] == [("p2", "0000:5c:00.0"), ("p13", "0000:bb:00.1")]
    assert [n["portsSelected"] for n in p["policies"]] == [1, 1]
    for port in p["ports"]:
        assert not port["drain"] and not port["reboot"] and not port["warnings"] and not port["pods"]
        steps = [(s["step"], s.get("value"), s.get("vf")) for s in port["steps"]]
        macs = [v for s, v, _ in steps if s == "vfIdentity"]
        assert len(set(macs)) == 8
        assert steps == ([("mtu", 9000, None), ("autoprobeOff", None, None), ("numVfs", 8, None)]
                         + [("vfIdentity", macs[n], n) for n in range(8)] + [("autoprobeOn", None, None)]
                         + [("vfBind", None, n) for n in range(8)] + [("vfMtu", 9000, n) for n in range(8)])


def test_table_folds_the_vfs_of_a_step(trees):
    out = kvrail("plan", "-f", OWN, "--root", trees / "dell-cx6dx").stdout
    assert "  VF 0-7: set MTU 9000\n" in out and "p13 (0000:bb:00.1)\n" in out and "drain not needed, reboot not needed" in out


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_tree_reads_like_the_machine(trees, tmp_path, kind):
    kvrail("inventory", "--root", trees / kind, "--record", tmp_path / "t.tar")
    tarfile.open(tmp_path / "t.tar").extractall(tmp_path / "again")
    before, after = inventory(trees / kind), inventory(tmp_path / "again")
    if kind == "broken":  # the device that was a dangling link is not there to be recorded
        before, after = (sorted((p["pciAddress"], p.get("problem", "")) for p in i["ports"]) for i in (before, after))
    assert before == after


def test_a_masked_record_keeps_its_shape_and_no_address(trees, tmp_path):
    kvrail("inventory", "--root", trees / "ib", "--record", tmp_path / "t.tar", "--mask")
    tar = tarfile.open(tmp_path / "t.tar")
    text = b"".join(tar.extractfile(m).read() for m in tar if m.isfile())
    assert b"a0:88:c2:ff:fe:00:41" not in text and b"a088:c2ff:fe00:41" not in text and b"ib-1" not in text
    tarfile.open(tmp_path / "t.tar").extractall(tmp_path / "again")
    before, after = inventory(trees / "ib"), inventory(tmp_path / "again")
    assert after["hostname"] == "masked"
    assert [(p["netdev"], p["mtu"], len(p["vfs"])) for p in before["ports"]] == [(p["netdev"], p["mtu"], len(p["vfs"])) for p in after["ports"]]
    zero = "0000:0000:0000:0000"
    assert [v["nodeGuid"] == zero for p in before["ports"] for v in p["vfs"]] == [v["nodeGuid"] == zero for p in after["ports"] for v in p["vfs"]]


def test_every_broken_port_is_there_with_its_problem(trees):
    problems = {p["netdev"]: p.get("problem") for p in inventory(trees / "broken")["ports"]}
    assert len(problems) == 10
    words = {"bad0": "vendor", "bad1": "sriov_totalvfs says", "bad2": "Input/output error", "bad3": "there are 0 VFs", "bad4": "nowhere",
             "bad5": "above sriov_totalvfs", "bad6": "-70000", "bad7": "ninety", "bad9": "sriov_numvfs is missing"}
    for netdev, problem in problems.items():
        assert problem is None if netdev == "bad8" else words[netdev] in problem
    assert ports(trees / "broken")["0000:18:00.0"]["mac"] == "???[31mred"


def test_a_port_with_a_problem_is_an_error_of_the_plan_and_no_other_port_s(trees):
    p = plan(trees / "broken", policy(nicSelector={"vendor": "15b3"}), rc=3)
    by = {port["name"]: port for port in p["ports"]}
    assert by["bad1"]["error"] and not by["bad1"]["steps"]
    assert "error" not in by["bad8"] and by["bad8"]["steps"]


def test_representors_are_never_the_port(trees):
    port = ports(trees / "switchdev")["0000:3b:00.0"]
    assert port["netdev"] == "enp59s0f0np0" and port["eSwitchMode"] == "switchdev"
    assert [v["representor"] for v in port["vfs"]] == [f"enp59s0f0npf0vf{n}"[-15:] for n in range(4)]


def test_vfs_in_pods_show_no_netdev_and_keep_their_admin_mac(trees):
    vfs = ports(trees / "states")["0000:30:00.0"]["vfs"]
    assert [("netdev" in v, "rdma" in v) for v in vfs] == [(False, False), (True, True), (False, False), (True, True)]
    assert vfs[0]["mac"] == vfs[0]["adminMac"] == "02:00:00:30:00:00"


def test_other_functions_and_wifi_are_no_ports_and_a_virtio_netdev_is_found(trees):
    p = ports(trees / "no-sriov")
    assert sorted(p) == ["0000:00:03.0", "0000:18:00.0", "0000:18:00.1"]
    assert p["0000:00:03.0"]["netdev"] == "eth0" and p["0000:18:00.1"]["linkLayer"] == "infiniband"


def test_numbers_of_every_kind(trees):
    counts = {k: (len(p := ports(trees / k)), sum(len(x["vfs"]) for x in p.values())) for k in KINDS}
    assert counts == {"dell-cx6dx": (6, 0), "hgx-h100": (13, 0), "e810": (2, 4), "x710": (4, 2), "igb": (2, 0), "no-sriov": (3, 0), "broken": (10, 4),
                      "bench-16x16": (16, 256), "switchdev": (1, 4), "bond": (3, 0), "states": (7, 24), "ib": (2, 8), "guest-vf": (8, 0),
                      "gb200": (4, 2), "many-vfs": (1, 127)}


def test_ports_without_sriov_say_how_to_get_it(trees):
    p = plan(trees / "no-sriov", policy(nicSelector={"rootDevices": ["0000:18:00.0"]}), rc=3)
    assert "mstconfig -d 0000:18:00.0 set SRIOV_EN=1 NUM_OF_VFS=4" in p["ports"][0]["error"]
    assert p["ports"][0]["reboot"]


def test_the_port_of_the_default_route_and_guest_vfs_are_never_selected(trees):
    assert plan(trees / "bond", policy(nicSelector={"deviceID": "101d"}))["nothingToDo"]
    assert plan(trees / "guest-vf", policy(nicSelector={"vendor": "15b3"}))["nothingToDo"]


def test_states_that_an_apply_finds(trees):
    def steps(netdev, **spec):
        p = plan(trees / "states", policy(pf=netdev, mtu=9000, isRdma=True, **spec))
        return [s["step"] for port in p["ports"] for s in port["steps"]]
    assert steps("right") == [] and steps("pods") == []
    assert steps("killed") == ["vfIdentity"] * 4 + ["autoprobeOn"] + ["vfBind"] * 4 + ["vfMtu"] * 4
    assert steps("noguid") == ["vfIdentity", "vfBind", "vfMtu"]
    assert steps("nomac") == ["vfIdentity"] * 4
    assert steps("vfio") == ["vfBind"] * 4 + ["vfMtu"] * 4
    assert steps("down", numVfs=8)[:3] == ["mtu", "linkUp", "autoprobeOff"]


def test_node_labels_narrow_the_policies(trees):
    p = policy(pf="p2", nodeSelector={"zone": "a"})
    (trees / "p.json").write_text(json.dumps(p))
    args = ("plan", "-f", trees / "p.json", "--root", trees / "dell-cx6dx", "-o", "json")
    assert len(json.loads(kvrail(*args).stdout)["ports"]) == 1
    assert len(json.loads(kvrail(*args, "--node-labels", "zone=a").stdout)["ports"]) == 1
    none = json.loads(kvrail(*args, "--node-labels", "zone=b").stdout)
    assert none["nothingToDo"] and not none["policies"][0]["nodeSelected"]


def test_more_vfs_than_the_port_has_names_both_numbers(trees):
    p = plan(trees / "igb", policy(pf="p2", numVfs=8), rc=3)
    assert "8 VFs wanted, the port has at most 7" in p["ports"][0]["error"]


def test_a_wrong_tree_is_one_clear_error(tmp_path):
    assert "sys" in kvrail("inventory", "--root", tmp_path, rc=1).stderr
    (tmp_path / "sys").mkdir()
    assert "no PCI bus" in kvrail("inventory", "--root", tmp_path).stderr


def pool(name, mode=None, **labels):
    spec = {"nodeSelector": {"matchLabels": labels}, **({"rdmaMode": mode} if mode else {})}
    return {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkPoolConfig", "metadata": {"name": name}, "spec": spec}


def node(name, **labels):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def test_the_rdma_mode_is_that_of_the_pool_that_selects_the_node(trees):
    tree = trees / "dell-cx6dx"
    wanted = "exclusive" if inventory(tree)["rdmaMode"] == "shared" else "shared"

    def modes(*objects):
        return [s["value"] for s in plan(tree, list(objects))["system"]]
    gpu, cpu = pool("gpu", wanted, role="gpu"), pool("cpu", role="cpu")
    assert modes(gpu, cpu, node("n", role="gpu")) == modes(cpu, gpu, node("n", role="gpu")) == [wanted]
    assert modes(gpu, cpu, node("n", role="cpu")) == modes(cpu, gpu, node("n", role="cpu")) == []
    assert modes(gpu, cpu) == [wanted]  # no labels, as on a host without a cluster: a pool without a mode says nothing


def test_of_several_nodes_the_one_of_this_name_counts(trees):
    tree = trees / "dell-cx6dx"
    name = inventory(tree)["hostname"]
    other, this = node("other", role="cpu"), node(name, role="gpu")
    p = policy(pf=next(x["netdev"] for x in ports(tree).values() if x["totalVfs"] and not x["defaultRoute"]), nodeSelector={"role": "gpu"})
    for nodes in ([other, this], [this, other]):
        assert plan(tree, [p, *nodes])["policies"][0]["nodeSelected"]
    r = kvrail("plan", "--root", tree, "-f", "-", rc=1, input=json.dumps([p, other, node("third")]))
    assert f"none of the input's 2 Nodes is called {name}" in r.stderr and "--node-labels" in r.stderr
