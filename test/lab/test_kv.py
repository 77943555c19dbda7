# SPDX-License-Identifier: Apache-2.0
"""kvrail-kv between two nodes: RC READ and WRITE over soft RoCE, proven by the devices' counters, and what it says when a rail fails."""
import json
import time

import pytest

import rails
from lab.guest import TREE

pytestmark = pytest.mark.lab

NETNS = "kv"
SECRET = {"KVRAIL_KV_SECRET": "lab"}
DEVICES = ["rxe_net1", "rxe_net2"]
TOKENS = 256  # 14 MiB of Qwen2-7B
BYTES = TOKENS * 57344


@pytest.fixture(scope="module")
def nodes(two_nodes):
    for node, last in zip(two_nodes, (1, 2)):
        for port in 0, 1:
            rails.make_vf(node, port, NETNS, f"net{port + 1}", f"10.0.{132 + port}.{last}")
            rails.add_rxe(node, NETNS, f"net{port + 1}")
    for port in 0, 1:
        two_nodes[0].wait_for(f"ip netns exec {NETNS} ping -c 1 -W 1 10.0.{132 + port}.2", timeout=30)
    yield two_nodes
    for node in two_nodes:
        rails.remove(node, NETNS)


class Prefill:
    """kvrail-kv serve on a node."""

    def __init__(self, node, *options):
        self.process = node.spawn(f"ip netns exec {NETNS} kvrail-kv serve {' '.join(options)}", env=SECRET)
        self.process.expect("listening on", timeout=120)

    def __enter__(self):
        return self.process

    def __exit__(self, *exc):
        self.process.signal(15)
        self.process.wait(30)


def pull(node, *options, timeout=180):
    return node.run(f"ip netns exec {NETNS} kvrail-kv pull -o json {' '.join(options)} 10.0.132.1", env=SECRET, timeout=timeout)


def pulled(node, *options, timeout=180):
    r = pull(node, *options, timeout=timeout)
    assert r.rc == 0, r
    return json.loads(r.out)


def readings(node):
    return {d: {c: rails.counter(node, NETNS, d, c) for c in ("rcvd_pkts", "sent_pkts")} for d in DEVICES} | {
        "tcp": rails.tcp_segments(node, NETNS)}


def test_a_pull_is_striped_over_both_rails_and_goes_by_rdma(nodes):
    prefill, decode = nodes
    with Prefill(prefill, f"-t {TOKENS}"):
        before = readings(decode)
        result = pulled(decode, "-n 2", "--require-rdma", "--checksum block")
        after = readings(decode)
    assert (result["transport"], result["rdma"], result["checksum"], result["bytes"]) == ("verbs", True, "ok", BYTES)
    assert [r["device"] for r in result["rails"]] == DEVICES
    assert [(r["address"], r["gidIndex"], r["mtu"]) for r in result["rails"]] == [("10.0.132.2", 1, 4096), ("10.0.133.2", 1, 4096)]
    assert sum(r["bytes"] for r in result["rails"]) == 2 * BYTES
    for d, rail in zip(DEVICES, result["rails"]):
        assert rail["bytes"] > BYTES / 4, "one rail carried nearly everything"
        assert after[d]["rcvd_pkts"] - before[d]["rcvd_pkts"] >= rail["bytes"] // 4096, "the bytes did not come by RDMA"
    # the control connection's own segments: hello, layouts, checksums
    assert after["tcp"] - before["tcp"] < 200


def test_prefill_writes_into_decode(nodes):
    prefill, decode = nodes
    with Prefill(prefill, f"-t {TOKENS}"):
        before = readings(decode)
        result = pulled(decode, "-n 1", "--op write", "--require-rdma", "--checksum block")
        after = readings(decode)
    assert (result["transport"], result["op"], result["checksum"]) == ("verbs", "write", "ok")
    assert sum(after[d]["rcvd_pkts"] - before[d]["rcvd_pkts"] for d in DEVICES) >= BYTES // 4096


def test_ranks_and_layouts_may_differ(nodes):
    prefill, decode = nodes
    with Prefill(prefill, f"-t {TOKENS} --order HND --tensors packed"):
        result = pulled(decode, "-n 1", "--require-rdma --poll --lanes 2 --tp 2 --rank 1 --block-tokens 32 --checksum block")
    assert (result["checksum"], result["bytes"]) == ("ok", BYTES // 2)


def test_the_bare_path_is_measured_by_ib_read_bw(nodes):
    prefill, decode = nodes
    with Prefill(prefill, f"-m 28x2x16x128x2 -t {TOKENS}", "--rails rxe_net1:1@10.0.132.1"):  # ranges of 64 KiB
        result = pulled(decode, "-m 28x2x16x128x2 -n 1 --baseline --rails rxe_net1:1@10.0.132.2", timeout=400)
    assert result["baseline"]["tool"].startswith("ib_read_bw, 65"), result["baseline"]
    assert result["baseline"]["GBps"] > 0 and result["baseline"]["share"] > 0


def test_without_a_device_auto_says_that_it_is_tcp_and_require_rdma_fails(nodes):
    prefill, decode = nodes
    with Prefill(prefill, f"-t {TOKENS}"):
        r = decode.run("ip netns exec kv kvrail-kv pull -n 1 --rails 10.0.132.9 --require-rdma 10.0.132.1", env=SECRET, timeout=60)
        assert r.rc == 1 and "no RDMA device here has a RoCE v2 GID of 10.0.132.9" in r.err, r
        r = decode.run("ip netns exec kv kvrail-kv pull -n 1 --rails rxe_net1@7 --require-rdma 10.0.132.1", env=SECRET, timeout=60)
        assert r.rc == 1 and "no GID at index 7" in r.err, r
    with Prefill(prefill, f"-t {TOKENS} --rails 127.0.0.1"):  # an address without RDMA
        r = decode.run("ip netns exec kv kvrail-kv pull -n 1 --require-rdma 10.0.132.1", env=SECRET, timeout=60)
        assert r.rc == 1 and "no transport of" in r.err and "127.0.0.1" in r.err, r




@pytest.mark.parametrize("fault, text", [
    ("key", "the peer's device refused the access"),
    ("short", "ends beyond the peer's region"),
    ("beyond", "the peer's device refused the access"),
    ("gid", "no answer from GID"),
    ("none", "moved"),
])
def test_each_fault_is_one_clear_error(nodes, fault, text):
    decode = nodes[1]
    tool = TREE / "build/test/unit/kv/kv_fault"
    r = decode.run(f"ip netns exec {NETNS} {tool} {fault} 10.0.132.2 10.0.132.2", timeout=90)
    assert r.rc == (0 if fault == "none" else 1), r
    assert text in r.out + r.err and len(r.err.splitlines()) <= 1, r


def test_link_lost_during_a_transfer_ends_with_the_rail_named(nodes):
    prefill, decode = nodes
    with Prefill(prefill, "-t 2048", "--rails 10.0.132.1,10.0.133.1"):
        before = rails.counter(decode, NETNS, "rxe_net2", "rcvd_pkts")
        p = decode.spawn(f"ip netns exec {NETNS} kvrail-kv pull -n 1000 --require-rdma --checksum off 10.0.132.1", env=SECRET)
        decode.wait_for(f"[ $(ip netns exec {NETNS} cat /sys/class/infiniband/rxe_net2/ports/1/hw_counters/rcvd_pkts) -gt {before + 2000} ]",
                        timeout=60)
        prefill.sh(f"ip -n {NETNS} link set net2 down")
        start = time.time()
        r = p.wait(120)
        prefill.sh(f"ip -n {NETNS} link set net2 up")
    assert r.rc == 1 and "10.0.133.2" in r.err and "no answer from GID" in r.err, r
    assert time.time() - start < 60


def test_prefill_killed_during_a_transfer_is_noticed_at_once(nodes):
    prefill, decode = nodes
    prefill.wait_for(f"ip netns exec {NETNS} ping -c 1 -W 1 10.0.133.2", timeout=30)
    server = Prefill(prefill, "-t 2048").process
    before = rails.counter(decode, NETNS, "rxe_net1", "rcvd_pkts")
    p = decode.spawn(f"ip netns exec {NETNS} kvrail-kv pull -n 1000 --require-rdma --checksum off 10.0.132.1", env=SECRET)
    decode.wait_for(f"[ $(ip netns exec {NETNS} cat /sys/class/infiniband/rxe_net1/ports/1/hw_counters/rcvd_pkts) -gt {before + 2000} ]",
                    timeout=60)
    server.signal(9)
    start = time.time()
    r = p.wait(60)
    assert r.rc == 1 and time.time() - start < 20, r
    assert len(r.err.strip().splitlines()) == 1, r.err
