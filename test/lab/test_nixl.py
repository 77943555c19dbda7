# SPDX-License-Identifier: Apache-2.0
"""Two real NIXL agents (the wheel from PyPI) hand blocks over by RDMA between the nodes' pods."""
import json

import pytest

import rails
from lab.guest import TREE

NIXL = TREE / ".deps/nixl"
AGENT = f"{NIXL}/bin/python {TREE}/test/lab/nixl-agent.py"
BLOCKS, SIZE = 64, 65536

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not (NIXL / "ready").exists(), reason="NIXL is not in .deps/nixl: run 'make deps' with PyPI in reach"),
]


def wheel_environment(node):
    """The wheel's own libibverbs cannot load Debian's provider for rxe, and says nothing: a folder with the system's
    libraries under the wheel's names, first in the search path, gives it one that can."""
    libs = next(NIXL.glob("lib/python3*/site-packages/nixl_cu12.libs")).resolve()
    names = {short: next(libs.glob(f"{short}-*.so*")).name for short in ("libibverbs", "libmlx5")}
    node.sh("mkdir -p /run/nixl-libs && cd /run/nixl-libs && " + " && ".join(
        f"ln -sf /usr/lib/x86_64-linux-gnu/{short}.so.1 {name}" for short, name in names.items()))
    return {"LD_LIBRARY_PATH": "/run/nixl-libs"}


def hand_over(prefill, decode, netns, environment):
    """Runs both agents in the namespace @netns of their nodes; returns what decode measured."""
    environment = {**environment, "UCX_LOG_LEVEL": "info"}
    arguments = f"{BLOCKS} {SIZE}"
    a = prefill.spawn(f"ip netns exec {netns} {AGENT} prefill {arguments}", env={**environment, **wheel_environment(prefill)})
    a.expect('"address"', timeout=180)
    offer = next(line for line in a.out.splitlines() if '"address"' in line)
    r = decode.run(f"ip netns exec {netns} {AGENT} decode {arguments}", input=offer + "\n", timeout=240,
                   env={**environment, **wheel_environment(decode)})
    assert r.rc == 0, r
    assert a.wait(120).rc == 0, a.out + a.err
    assert '"notified": ["done"]' in a.out
    result = json.loads(next(line for line in r.out.splitlines() if '"state"' in line))
    return result, r.out + r.err


def assert_read_by_rdma(result, log, devices, before, after):
    assert (result["state"], result["backend"], result["wrong_blocks"]) == ("DONE", "UCX", 0), result
    assert "rma(rc_verbs/" in log, log
    packets = sum(after[d] - before[d] for d in devices)
    assert packets >= BLOCKS * SIZE // 4096, f"{packets} packets by RDMA for {BLOCKS * SIZE} bytes"
    assert after["tcp"] == before["tcp"], "TCP segments were sent"


def readings(node, netns, devices):
    return {**{d: rails.counter(node, netns, d, "rcvd_pkts") for d in devices}, "tcp": rails.tcp_segments(node, netns)}


def test_a_read_between_rails_made_by_hand_goes_by_rdma_alone(two_nodes):
    prefill, decode = two_nodes
    for node, last in (prefill, 1), (decode, 2):
        rails.make_vf(node, 0, "pod", "net1", f"10.0.132.{last}")
        rails.add_rxe(node, "pod", "net1")
    prefill.wait_for("ip netns exec pod ping -c 1 -W 1 10.0.132.2", timeout=30)
    environment = {"UCX_TLS": "rc", "UCX_NET_DEVICES": "rxe_net1:1", "UCX_ZCOPY_THRESH": "0"}
    before = readings(decode, "pod", ["rxe_net1"])
    result, log = hand_over(prefill, decode, "pod", environment)
    assert_read_by_rdma(result, log, ["rxe_net1"], before, readings(decode, "pod", ["rxe_net1"]))
    for node in two_nodes:
        rails.remove(node, "pod")
