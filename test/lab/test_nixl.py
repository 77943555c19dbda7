# SPDX-License-Identifier: Apache-2.0
"""Two real NIXL agents (the wheel from PyPI) hand blocks over by RDMA between the nodes' pods."""
import json

import pytest

import rails
from lab.guest import TREE
from lab.runtime import Pod, install

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


def hand_over(prefill, decode, prepare):
    """Runs an agent on either node, after the shell commands prepare(node) that enter its pod; returns what decode
    measured and what UCX logged."""
    def agent(node, role):
        return dict(command=f"{prepare(node)} {AGENT} {role} {BLOCKS} {SIZE}",
                    env={"UCX_LOG_LEVEL": "info", "UCX_ZCOPY_THRESH": "0", **wheel_environment(node)})

    a = prefill.spawn(**agent(prefill, "prefill"))
    a.expect('"address"', timeout=180)
    offer = next(line for line in a.out.splitlines() if '"address"' in line)
    r = decode.run(**agent(decode, "decode"), input=offer + "\n", timeout=240)
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
    before = readings(decode, "pod", ["rxe_net1"])
    result, log = hand_over(
        prefill, decode, lambda node: "export UCX_TLS=rc UCX_NET_DEVICES=rxe_net1:1; exec ip netns exec pod")
    assert_read_by_rdma(result, log, ["rxe_net1"], before, readings(decode, "pod", ["rxe_net1"]))
    for node in two_nodes:
        rails.remove(node, "pod")


def test_a_read_between_pods_goes_by_rdma_alone_with_kvrails_rails_and_environment(two_nodes):
    pods = []
    for node in two_nodes:
        install(node)
        agent = node.spawn(f"exec kvrail agent --standalone --soft-roce --share {node.number}/2")
        agent.expect("ready:", timeout=60)
        node.sh(f"kvrail apply -f {TREE}/docs/examples/network-roce-lab.yaml", timeout=120)
    for node, name in zip(two_nodes, ("prefill-0", "decode-0")):
        pods.append(Pod(node, name, "llm-test/roce-rail0,llm-test/roce-rail1"))
        pods[-1].add()
    prefill, decode = pods
    devices = decode.sh("ls /sys/class/infiniband").split()
    assert len(devices) == 2
    decode.guest.wait_for(f"ip netns exec {decode.name} ping -c 1 -W 1 {prefill.addresses()[0]}", timeout=30)

    def prepare(node):
        pod = pods[node.number - 1]
        return (f"kvrail env {pod.namespace}/{pod.name} --format sh >/run/env && . /run/env && "
                f"exec ip netns exec {pod.name}")

    before = readings(decode.guest, decode.name, devices)
    result, log = hand_over(*two_nodes, prepare)
    assert_read_by_rdma(result, log, devices, before, readings(decode.guest, decode.name, devices))
    for pod in pods:
        pod.delete()
        assert "no pods are attached" in pod.guest.sh("kvrail status")
