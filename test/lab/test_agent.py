# SPDX-License-Identifier: Apache-2.0
"""The agent on a node with VFs and soft RoCE, by the installed plugin: killed at every step, without power, asked for what
would hurt a pod, by many at once."""
import collections
import json
import os
import re
import subprocess

import pytest

import kvnode
from lab.guest import TREE
from lab.runtime import CniError, Pod

KVRAIL = TREE / os.environ.get("KVRAIL_BUILD", "build") / "kvrail"
TRY_AGAIN = 11
HARDWARE = {"add-rdma-move", "del-rdma-move"}  # igb has no RDMA device to move
CLUSTER = {"add-delegate", "add-default-route", "add-cdi", "add-status", "del-cdi", "del-delegate"}  # of pods in a cluster: test_meta.py
ONCE = {"add-journal", "add-allocate", "add-ready", "del-journal", "del-release", "del-forget"}  # for all rails together

pytestmark = pytest.mark.lab


def steps():
    """Every step of ADD and DEL of a pod with two rails, as the program lists them."""
    if not KVRAIL.exists():
        return []
    listed = subprocess.run([KVRAIL, "agent", "--list-steps"], capture_output=True, text=True, check=True).stdout.split()
    return [name for s in listed if s not in HARDWARE | CLUSTER for name in ([s] if s in ONCE else [s, s + "#1"])]


@pytest.fixture(scope="module")
def node(guest):
    """The node before any test: provisioned, no agent."""
    node = kvnode.Node(guest)
    node.bare = node.found()
    node.start()
    node.provision()
    node.kill()
    return node


@pytest.fixture
def agent(node):
    """The node with its agent."""
    node.start()
    yield node
    node.kill()


@pytest.fixture
def make_pod(node):
    pods = []

    def make(name="prefill-0"):
        pod = Pod(node.g, name, kvnode.NETWORKS)
        pod.conflist["cniVersion"] = "1.1.0"
        pods.append(pod)
        pod.start()
        return pod

    yield make
    for pod in pods:
        pod.process.signal(9)
        node.g.run(["ip", "netns", "del", pod.name])


def add(pod):
    pod.result = pod.cni("ADD")
    return pod.result


def vfs(pod):
    return [i["pciID"] for i in pod.result["interfaces"]]


# -- kills -----------------------------------------------------------------------------------------------------------
def test_the_steps_killed_at_are_all_there_are(node, make_pod):
    node.start("--log-level debug")
    pod = make_pod()
    add(pod)
    pod.cni("DEL")
    node.assert_clean()
    node.kill()
    assert sorted(set(re.findall(r"step (\S+)", node.agent.err))) == sorted(steps())


@pytest.mark.parametrize("step", [s for s in steps() if s.startswith("add-")])
def test_a_kill_at_every_step_of_add_is_taken_back(node, make_pod, step):
    pod = make_pod()
    node.start(KVRAIL_CRASH_AT=step)
    with pytest.raises(CniError) as failed:
        add(pod)
    node.died()
    assert failed.value.error["code"] == TRY_AGAIN
    if not step.endswith("#1"):  # the runtime gives up at once: its DEL waits for the agent
        pod.cni("DEL")
        assert sum(f.startswith(f"{kvnode.STATE}/spool/") for f in node.files()) == 1
    node.start()
    node.assert_clean()
    node.kill()


@pytest.mark.parametrize("step", [s for s in steps() if s.startswith("del-")])
def test_a_kill_at_every_step_of_del_is_gone_on_with(node, make_pod, step):
    pod = make_pod()
    node.start(KVRAIL_CRASH_AT=step)
    add(pod)
    assert len(node.leases()) == 2
    pod.cni("DEL")  # the agent dies in it; the pod's end is taken note of all the same
    node.died()
    assert sum(f.startswith(f"{kvnode.STATE}/spool/") for f in node.files()) == 1
    node.start()
    node.assert_clean()
    pod.cni("DEL")
    node.kill()


# -- many at once ----------------------------------------------------------------------------------------------------
def assert_never_twice(pods, key):
    """No VF, no address in two pods at the same time: between the end of ADD and the begin of DEL it was the pod's own."""
    held = collections.defaultdict(list)
    for pod in pods:
        for thing in pod[key]:
            held[thing].append((pod["begin"], pod["end"]))
    for thing, spans in held.items():
        spans.sort()
        for (_, end), (begin, _) in zip(spans, spans[1:]):
            assert end < begin, f"{thing} was handed out twice: {spans}"


@pytest.mark.parametrize("options, workers, pods", [("--soft-roce", 8, 20), ("", 20, 80)])
def test_many_runtimes_at_once_leak_nothing_and_share_nothing(node, options, workers, pods):
    """All rows together: 100 ADDs and 100 DELs; with more workers than VFs, so that some wait."""
    soft, node.options = node.options, options
    node.start()
    r = node.g.run(["python3", "-I", "-S", TREE / "test/lab/storm.py", workers, 1000 * workers, pods], timeout=300)
    assert r.rc == 0, r
    result = json.loads(r.out)
    assert result["errors"] == []
    assert len(result["pods"]) == pods
    assert all(len(p["vfs"]) == len(p["addresses"]) == p["rails"] for p in result["pods"])
    assert_never_twice(result["pods"], "vfs")
    assert_never_twice(result["pods"], "addresses")
    if workers > 14:
        assert result["retries"] > 0
    node.assert_clean()
    node.kill()
    node.options = soft


# -- provisioning ----------------------------------------------------------------------------------------------------
def changed(number):
    """The lab's manifest with another number of VFs."""
    return kvnode.MANIFEST.read_text().replace("numVfs: 7", f"numVfs: {number}")


def port_lines(found, port):
    return [line for line in found.splitlines() if line.startswith(f"{port}/")]


def test_a_port_with_a_vf_in_use_is_changed_by_force_only(agent, make_pod):
    agent.g.put("/tmp/four.yaml", changed(4))
    pod = make_pod()
    add(pod)
    found = agent.found()
    r = agent.apply("/tmp/four.yaml")
    assert r.rc == 1 and "llm-test/prefill-0" in r.err and "--force" in r.err and vfs(pod)[0] in r.err, r
    assert agent.found() == found
    pod.cni("CHECK")
    assert "numVfs: 7" in agent.g.sh("kvrail get sriovnetworknodepolicies rail0 -n openshift-sriov-network-operator -o yaml")
    r = agent.apply("/tmp/four.yaml", "--force")
    assert r.rc == 0, r
    assert "p0/device/sriov_numvfs:4" in agent.found() and "p1/device/sriov_numvfs:4" in agent.found()
    with pytest.raises(CniError):
        pod.cni("CHECK")
    pod.cni("DEL")
    assert agent.status()["attachments"] == [] and agent.files() == [] and agent.leases() == []
    r = agent.apply()
    assert r.rc == 0, r
    agent.before = agent.found()
    agent.assert_clean()


@pytest.mark.parametrize("step", [
    "sriov_drivers_autoprobe off", "set sriov_numvfs", "sriov_drivers_autoprobe on", "bind its driver"])
def test_an_apply_that_was_killed_is_completed_by_the_next_agent(node, step):
    """Killed when the first port is done with this step, from seven VFs to five and back."""
    number = 5 if "sriov_numvfs:7" in node.found() else 7
    node.g.put("/tmp/other.yaml", changed(number))
    node.start()
    p = node.g.spawn("exec kvrail apply -f /tmp/other.yaml")
    node.agent.expect(step, timeout=60)
    node.kill()
    r = p.wait(60)
    if r.rc or "bind" not in step:  # a fast machine may be through with the last step before the kill comes
        assert r.rc == 1 and "went away before it was done" in r.err, r
    node.start()
    found = node.found()
    for port in "p0", "p1":
        assert f"{port}/device/sriov_numvfs:{number}" in found
        assert sum(line.endswith("/mtu:9000") for line in port_lines(found, port)) == number + 1
    assert node.status()["problems"] == []
    r = node.apply("/tmp/other.yaml")
    assert r.rc == 0 and "nothing to do" in r.out, r
    node.kill()
    node.before = found


def without_names(found):
    """The kernel numbers netdevs anew at each boot."""
    return sorted(re.sub(r"eth\d+", "eth", found).splitlines())


def test_after_a_power_cut_with_pods_attached_the_node_is_as_its_policies_ask(node, make_pod):
    node.start()
    for name in "prefill-0", "decode-0":
        add(make_pod(name))
    assert len(node.leases()) == 4 and len(node.files()) == 2
    node.g.power_cycle()
    assert "p0/device/sriov_numvfs:0" in node.found() and len(node.files()) == 2
    node.start()
    found = node.found()
    assert without_names(found) == without_names(node.before)
    node.before = found
    node.assert_clean()
    pod = make_pod("prefill-1")
    add(pod)
    assert pod.addresses() == ["10.0.132.1", "10.0.132.2"]
    pod.cni("DEL")
    node.kill()


def test_without_its_policies_a_port_is_as_it_was_found(agent):
    r = agent.apply(verb="delete")
    assert r.rc == 0, r
    assert agent.found() == agent.bare
    assert "no resources" in agent.g.sh("kvrail status")
    r = agent.apply(verb="delete")
    assert r.rc == 0 and "nothing to do" in r.out, r


# -- RDMA in shared mode -----------------------------------------------------------------------------------------------
def test_rdma_in_shared_mode_is_told_of_and_refused_to_who_asks_for_its_own(boot):
    guest, = boot(rdma="shared")
    node = kvnode.Node(guest)
    guest.sh("ip netns add other")  # the kernel does not change the mode now
    node.start()
    assert "RDMA stays in shared mode" in node.agent.err and "netns_mode=0" in node.agent.err
    node.provision()
    pod = Pod(guest, "prefill-0", kvnode.NETWORKS)
    pod.add()
    attachment, = node.status()["attachments"]
    for rail in attachment["rails"]:
        assert any(rail["ifname"] in w and "shared mode" in w and rail["rdma"] in w for w in attachment["warnings"]), attachment
    r = guest.run("kvrail verify llm-test/prefill-0")
    assert r.rc == 3 and "rdma system set netns exclusive" in r.out, r
    pod.delete()
    node.assert_clean()

    guest.put("/tmp/own.yaml", kvnode.MANIFEST.read_text().replace("  ipam: |-", """  metaPlugins: '{"type": "rdma"}'\n  ipam: |-"""))
    assert node.apply("/tmp/own.yaml").rc == 0
    with pytest.raises(CniError) as refused:
        pod.add()
    assert refused.value.error["code"] == 7 and "rdma system set netns exclusive" in refused.value.error["msg"]
    pod.stop()
    node.assert_clean()
    node.kill()

    guest.sh("ip netns del other")
    guest.wait_for("! ls /run/netns/* 2>/dev/null", timeout=20)
    node.start()
    assert "RDMA is in exclusive mode" in node.agent.err and "netns exclusive" in guest.sh("rdma system")
    pod.add()
    pod.delete()
    node.assert_clean()
    node.kill()
