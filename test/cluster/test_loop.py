# SPDX-License-Identifier: Apache-2.0
"""Pods with rails created and deleted in a loop over both nodes, in waves that use every VF: nothing is given twice, nothing leaks, and how long each
stage took is printed. KVRAIL_LOOP_PODS=100 for the long loop; a wave takes about a minute on emulated nodes."""
import concurrent.futures
import datetime
import difflib
import itertools
import os
import re
import time

import images
import kserve
from control import ClusterError
from kserve import NAMESPACE, RESOURCE

PODS = int(os.environ.get("KVRAIL_LOOP_PODS", "14"))
OTHER = "openshift.io/p13rdma"  # of the second port, whose network KServe's file puts into a namespace of its own
NETWORKS = f"{kserve.NETWORK},llm-test2/roce-p13"
BASE = f"/api/v1/namespaces/{NAMESPACE}/pods"
AROUND = """ls /var/run/netns /sys/class/net
    find /var/lib/cni /run/cni-ipam -type f ! -name 'last_reserved_ip*' ! -name lock | sort"""
INFO = "/var/run/k8s.cni.cncf.io/devinfo/dp"


def rail_pod(name):
    resources = {RESOURCE: "1", OTHER: "1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": name, "namespace": NAMESPACE, "labels": {"of": "loop"}, "annotations": {"k8s.v1.cni.cncf.io/networks": NETWORKS}},
        "spec": {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "containers": [
            {"name": "main", "image": images.PAUSE, "resources": {"requests": resources, "limits": resources}}]}}


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def born(pod):
    """Seconds from step to step of a pod's life, by what its object says: whole seconds, of the clocks of the control plane and of the node."""
    times = {c["type"]: when(c["lastTransitionTime"]) for c in pod["status"]["conditions"]}
    created, scheduled, sandbox, ready = when(pod["metadata"]["creationTimestamp"]), *(
        times[t] for t in ("PodScheduled", "PodReadyToStartContainers", "Ready"))
    return {"scheduled": scheduled - created, "sandbox with networks": sandbox - scheduled, "containers": ready - sandbox, "created to ready": ready - created}


def metrics(node):
    """{(name, labels): value} of the node's agent."""
    text = node.sh("curl -sS --max-time 20 http://127.0.0.1:9478/metrics")
    return {(n, labels): float(v) for n, labels, v in re.findall(r"^(\w+)(\{.*\})? (\S+)$", text, re.M)}


class Stages:
    """The agents' histograms of CNI calls, from begin() to now, all nodes together."""

    def __init__(self, nodes):
        self.nodes, self.before = nodes, self.read(nodes)

    @staticmethod
    def read(nodes):
        found = {}
        for (name, labels), value in itertools.chain.from_iterable(metrics(n).items() for n in nodes):
            if name == "kvrail_cni_stage_seconds_bucket":
                l = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                key = l["verb"], l["stage"], float(l["le"].replace("+Inf", "inf"))
                found[key] = found.get(key, 0) + value
        return found

    def now(self):
        """{"ADD kernel": (calls, p50, p99)} in seconds; within a bucket as Prometheus does it, in a straight line."""
        buckets = {}
        for (verb, stage, limit), value in sorted(self.read(self.nodes).items()):
            buckets.setdefault(f"{verb} {stage}", []).append((limit, value - self.before.get((verb, stage, limit), 0)))
        return {name: (int(b[-1][1]), quantile(b, 0.5), quantile(b, 0.99)) for name, b in buckets.items() if b[-1][1]}


def quantile(buckets, q):
    rank, low, below = q * buckets[-1][1], 0.0, 0.0
    for limit, count in buckets:
        if count >= rank:
            return low if limit == float("inf") else low + (limit - low) * (rank - below) / ((count - below) or 1)
        low, below = limit, count
    return low


def of(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def wave(cluster, names):
    """The pods, once all are Ready."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cluster.plane.post(BASE, rail_pod(n)), names))
        return list(pool.map(lambda n: cluster.wait_pod(NAMESPACE, n, 400), names))


def away(cluster, names):
    """Deletes them all; [seconds until each is gone]."""
    begin, gone = time.monotonic(), {}
    for n in names:
        cluster.delete_pod(NAMESPACE, n, wait=False)

    def all_gone():
        left = {p["metadata"]["name"] for p in cluster.plane.get(BASE + "?labelSelector=of%3Dloop")["items"]}
        for n in set(names) - left - set(gone):
            gone[n] = time.monotonic() - begin
        return len(gone) == len(names)
    cluster.plane.wait_for(all_gone, "the pods are gone", 300)
    return list(gone.values())


def given(pods):
    """All (node, VF) and all addresses that the pods' rails have."""
    rails = [(p["spec"]["nodeName"], s) for p in pods for s in kserve.networks_of(p) if s.get("interface", "").startswith("net")]
    return [(node, s["device-info"]["pci"]["pci-address"]) for node, s in rails], [s["ips"][0] for _, s in rails]


def around(node):
    """What a pod changes on a node besides what Kvrail.found() tells: namespaces, links, addresses and results of the default network."""
    return node.sh(AROUND)


def as_before(cluster, before, timeout=120):
    try:
        cluster.plane.wait_for(lambda: all(around(n) == before[n.name] for n in cluster.nodes), "nodes are as before", timeout, every=2)
    except ClusterError as e:
        raise ClusterError(f"{e}\n" + "\n".join(line for n in cluster.nodes for line in difflib.unified_diff(
            before[n.name].splitlines(), around(n).splitlines(), n.name, n.name, "before", "now", n=0, lineterm=""))) from None


def test_pods_come_and_go_in_waves_that_use_every_vf_and_nothing_leaks(cluster, kvrail, capsys):
    nodes, free = cluster.nodes, sum(kvrail.offered(n)[RESOURCE] for n in cluster.nodes)
    before, files = {n.name: around(n) for n in nodes}, {n.name: metrics(n)[("process_open_fds", "")] for n in nodes}
    stages, births, deaths, begin = Stages(nodes), [], [], time.monotonic()
    for first in range(0, PODS, free):
        names = [f"loop-{i}" for i in range(first, min(first + free, PODS))]
        pods = wave(cluster, names)
        vfs, addresses = given(pods)
        assert len(set(vfs)) == len(set(addresses)) == 2 * len(names), (vfs, addresses)
        births += map(born, pods)
        deaths += away(cluster, names)
    seconds = time.monotonic() - begin
    kvrail.nothing_left(kvrail.before, 120)
    as_before(cluster, before)
    for n in nodes:
        # a device's file is written anew each time it is given, and stays in between, as with the SR-IOV device plugin
        assert len(n.sh(f"ls {INFO}").split()) <= 2 * kvrail.offered(n)[RESOURCE]
        m = metrics(n)
        assert m[("kvrail_attachments", "")] == m[("kvrail_spool_length", "")] == 0
        assert m[("process_open_fds", "")] <= files[n.name] + 8
    calls = stages.now()
    assert calls["ADD total"][0] >= PODS and calls["DEL total"][0] >= PODS, calls
    with capsys.disabled():
        print(f"\n{PODS} pods with 2 rails in waves of {free} on {len(nodes)} nodes: {seconds:.0f} s, nothing left\n{'':32}calls     p50     p99 (s)")
        for name, (count, p50, p99) in calls.items():
            print(f"{'agent, ' + name:32}{count:5}{p50:8.3f}{p99:8.3f}")
        for name in births[0]:
            values = [b[name] for b in births]
            print(f"{'pod, ' + name:32}{len(values):5}{of(values, 0.5):8.0f}{of(values, 0.99):8.0f}")
        print(f"{'pod, deleted to gone':32}{len(deaths):5}{of(deaths, 0.5):8.1f}{of(deaths, 0.99):8.1f}")
