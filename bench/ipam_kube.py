#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Addresses out of the pools of a real API server: 64 ADDs at once against Whereabouts in the same run, and 128 pods of 16 networks from 16 nodes.

Whereabouts is a process for each ADD, as a runtime calls it, started within the time; kvrail is the node's agent, here test/system/ipam_driver,
which runs and is connected before, and the shim that a runtime starts for an ADD is not in it. KVRAIL_PEERS names the folder of
the Go programs. Its network namespaces need root.
"""
import collections
import os
import subprocess
import sys
import time

from rows import ROOT, row, skip

sys.path[:0] = [str(ROOT / "test/cluster"), str(ROOT)]
import control  # noqa: E402
from ipam import WHEREABOUTS, Node, Whereabouts, config_for, entries, ipam, together  # noqa: E402

PODS = 64
RATE = f"{PODS} ADDs at once on one pool, one node, against Whereabouts"
SPREAD = f"{PODS} ADDs at once on one pool, from {PODS} nodes, against Whereabouts"
LARGE = "128 pods x 16 networks from 16 nodes, one pool: time"
WRITES = "the same: writes a pod, those that lost a race included"
ALONE = "one ADD alone, requests"


def nodes_of(config, namespace, count):
    nodes = [Node(config, f"node-{namespace}-{i}", namespace) for i in range(count)]
    return [n.wait_ready() for n in nodes]


def ours(config, namespace, net, count, pods, interfaces):
    """Seconds, and what the nodes did meanwhile."""
    with Node(config, "first", namespace) as first:  # the pool is there, as with Whereabouts
        first.add("warm", "llm/warm", net)
    nodes = nodes_of(config, namespace, count)
    before = sum((n.stats() for n in nodes), collections.Counter())
    given, seconds = together([(lambda i=i: nodes[i % count].begin_add(f"c{i}", f"llm/p{i}", net, interfaces), nodes[i % count].end)
                               for i in range(pods)])
    did = sum((n.stats() for n in nodes), collections.Counter()) - before
    for n in nodes:
        n.close()
    held = [a for g in given for a in g.split(",")]
    assert len(set(held)) == len(held) == pods * len(interfaces), "an address was given twice"
    return seconds, did


def gos(config, net):
    ns = f"kvb-{os.getpid()}-go"
    subprocess.run(["ip", "netns", "add", ns], check=True)
    try:
        go = Whereabouts(config, f"/run/netns/{ns}", net)
        go.add("warm", "llm/warm")
        given, seconds = together([(lambda i=i: go.begin("ADD", f"c{i}", f"llm/p{i}"), go.end) for i in range(PODS)])
        assert len({a for g in given for a in g}) == PODS
        return seconds
    finally:
        subprocess.run(["ip", "netns", "del", ns])


def measure(plane):
    configs = {}
    for name in "alone", "one", "many", "large", "go":
        plane.namespace(name)
        configs[name] = config_for(plane, name)
    one, _ = ours(configs["one"], "one", ipam("10.1.0.0/16"), 1, PODS, ["net1"])
    many, _ = ours(configs["many"], "many", ipam("10.1.0.0/16"), PODS, PODS, ["net1"])
    if not os.access(WHEREABOUTS, os.X_OK) or os.geteuid():
        why = "KVRAIL_PEERS has no whereabouts" if not os.access(WHEREABOUTS, os.X_OK) else "needs root"
        skip(f"{RATE} (ours: {PODS / one:.0f}/s)", ">= 30x", why)
        skip(f"{SPREAD} (ours: {PODS / many:.0f}/s)", "-", why)
    else:
        go = gos(configs["go"], ipam("10.1.0.0/16"))
        row(RATE, f"{go / one:.0f}x ({PODS / one:.0f} / {PODS / go:.1f} a second)", ">= 30x", go / one >= 30)
        row(SPREAD, f"{go / many:.1f}x ({PODS / many:.0f} / {PODS / go:.1f} a second)")
    seconds, did = ours(configs["large"], "large", ipam("10.1.0.0/16"), 16, 128, [f"net{i}" for i in range(1, 17)])
    assert len(entries(plane, "large")) == 128 * 16 + 1
    row(LARGE, f"{seconds:.1f} s, 0 addresses given twice", "<= 10 s", seconds <= 10)
    row(WRITES, f"{did['patches'] / 128:.2f}", "<= 2", did["patches"] <= 256)
    (node,) = nodes_of(configs["alone"], "alone", 1)
    node.add("warm", "llm/warm", ipam("10.1.0.0/16"))
    time.sleep(1)
    before = node.stats()
    node.add("c", "llm/p", ipam("10.1.0.0/16"), [f"net{i}" for i in range(1, 17)])
    did = node.stats() - before
    node.close()
    row(ALONE, f"{did['reads'] + did['patches'] + did['reservations']} for 16 networks", "<= 2",
        did["reads"] + did["patches"] + did["reservations"] <= 2)


why = control.missing()
if why:
    for what, reach in (RATE, ">= 30x"), (LARGE, "<= 10 s"), (WRITES, "<= 2"), (ALONE, "<= 2"):
        skip(what, reach, why)
    sys.exit(0)
with control.ControlPlane(name="bench-ipam") as p:
    p.install_crds()
    measure(p)
