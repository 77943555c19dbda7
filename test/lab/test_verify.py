# SPDX-License-Identifier: Apache-2.0
"""`kvrail verify` between two pods on two nodes: what is good, and each thing that was broken on purpose, with its way out."""
import contextlib
import json
import time

import pytest

import kvnode
from lab.runtime import Pod

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def nodes(two_nodes):
    nodes = [kvnode.Node(g, f"--soft-roce --share {g.number}/2") for g in two_nodes]
    for n in nodes:
        n.start()
        n.provision()
    return nodes


@pytest.fixture
def pods(nodes):
    """(prefill on node 1, decode on node 2), attached anew for each test."""
    pods = [Pod(n.g, name, kvnode.NETWORKS) for n, name in zip(nodes, ("prefill-0", "decode-0"))]
    for pod in pods:
        pod.add()
    yield pods
    for pod, node in zip(pods, nodes):
        pod.delete()
        node.assert_clean()


def verify(pod, options="", timeout=120):
    """Exit code and lines; each line a dict with verdict, where, rail, check, expected, found, do."""
    r = pod.guest.run(f"kvrail verify {pod.namespace}/{pod.name} {options} -o json", timeout=timeout)
    assert r.out, r
    report = json.loads(r.out)
    assert report["bad"] == sum(line["verdict"] == "BAD" for line in report["lines"])
    return r.rc, report["lines"]


def verify_both(pods):
    prefill, decode = pods
    listener = prefill.guest.spawn(f"exec kvrail verify {prefill.namespace}/{prefill.name} --listen")
    listener.expect("listening", timeout=60)
    rc, lines = verify(decode, f"--peer {prefill.addresses()[0]}")
    return rc, lines, listener.wait(60)


def bad(lines):
    return [line for line in lines if line["verdict"] == "BAD"]


def one(lines, **want):
    """The one line with these values."""
    found = [line for line in lines if all(line.get(k) == v for k, v in want.items())]
    assert len(found) == 1, (want, lines)
    return found[0]


@contextlib.contextmanager
def program(pod, **env):
    """A program of the pod with something in its environment, as the kubelet starts it; gives its process id."""
    p = pod.guest.spawn(["ip", "netns", "exec", pod.name, "sh", "-c", "echo $$; exec sleep 100000"], env=env)
    p.expect("\n", timeout=30)
    pod.guest.wait_for(f"grep -q sleep /proc/{p.out.strip()}/comm", timeout=30)
    yield p.out.strip()
    p.kill()


def test_two_good_pods_are_found_good_on_both_sides(pods):
    rc, lines, listener = verify_both(pods)
    assert rc == 0 and bad(lines) == [], bad(lines)
    assert listener.rc == 0 and "all good" in listener.out, listener
    for rail in "net1", "net2":
        one(lines, where="path", rail=rail, check="9000-byte path", verdict="ok")
        one(lines, where="path", rail=rail, check="RC connection", verdict="ok")
        for where in "here", "peer":
            assert "index 1 (manifests that hard-code 3 are wrong here)" in one(lines, where=where, rail=rail, check="GID")["found"]
    one(lines, where="here", check="foreign devices", verdict="ok")


def test_an_mtu_lowered_in_one_pod_is_found_by_both_with_the_fix_named(pods):
    prefill, decode = pods
    prefill.sh("ip link set net2 mtu 1500")
    rc, lines, listener = verify_both(pods)
    assert rc == 3 and listener.rc == 3
    assert all(line["rail"] == "net2" for line in bad(lines)), bad(lines)
    assert one(lines, where="path", rail="net2", check="9000-byte path")["do"] == (
        "raise the MTU of the peer's net2 (1500), and of its PF first")
    assert "ip link set net2 mtu 9000" in one(lines, where="peer", rail="net2", check="interface")["do"]
    one(lines, where="path", rail="net1", check="9000-byte path", verdict="ok")
    assert "ip link set net2 mtu 9000" in listener.out


def test_a_gid_index_that_is_wrong_here_is_found_with_process_and_variable(pods):
    decode = pods[1]
    for name in "UCX_IB_GID_INDEX", "NCCL_IB_GID_INDEX":
        with program(decode, **{name: "3"}) as pid:
            rc, lines = verify(decode)
        line, = bad(lines)
        assert rc == 3 and line["check"] == name
        assert line["found"] == f"3 in sleep (process {pid})" and line["expected"] == "net1 has 1, net2 has 1"
        assert "manifest" in line["do"]
    with program(decode, UCX_IB_GID_INDEX="1", NCCL_IB_GID_INDEX="-1"):
        rc, lines = verify(decode)
        assert rc == 0 and bad(lines) == []


def test_a_pod_that_lost_its_address_has_lost_its_gid_too(pods):
    decode = pods[1]
    address = decode.addresses()[0]
    decode.sh("ip addr flush dev net1")
    rc, lines = verify(decode)
    assert rc == 3 and {(line["rail"], line["check"]) for line in bad(lines)} == {("net1", "address"), ("net1", "GID")}
    gid = one(lines, rail="net1", check="GID")
    assert address in gid["expected"] and "give the interface its address" in gid["do"]
    decode.sh(f"ip addr add {address}/24 dev net1")
    for _ in range(20):
        rc, lines = verify(decode)
        if rc == 0:
            break
        time.sleep(0.2)
    assert rc == 0 and bad(lines) == [], bad(lines)


def test_a_link_that_is_down_is_found(pods):
    decode = pods[1]
    decode.sh("ip link set net2 down")
    rc, lines = verify(decode)
    assert rc == 3
    assert "ip link set net2 up" in one(lines, rail="net2", check="interface")["do"]
    assert all(line["rail"] == "net2" for line in bad(lines)), bad(lines)


def moved(pod):
    """What `kvrail top` says that each rail of the pod has moved since it was attached."""
    r = json.loads(pod.guest.sh(f"kvrail top --interval 1 --pod {pod.namespace}/{pod.name} -o json"))
    return {rail["ifname"]: rail for rail in r["rails"]}


def test_what_verify_moves_is_counted_as_rdma_and_not_as_tcp(pods):
    decode = pods[1]
    before = moved(decode)
    assert set(before) == {"net1", "net2"} and all(rail["soft"] for rail in before.values())
    assert verify_both(pods)[0] == 0
    after = moved(decode)
    for rail in before:
        grown = {k: after[rail][k] - before[rail][k] for k in ("rdmaRxBytes", "rdmaTxBytes", "tcpRxBytes")}
        assert grown["rdmaRxBytes"] >= 4 << 20 > grown["rdmaTxBytes"] > 0, grown  # decode READs 4 MiB of each rail
        assert grown["tcpRxBytes"] < 1 << 20, grown  # headers, the checks' own conversation
