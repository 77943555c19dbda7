# SPDX-License-Identifier: Apache-2.0
"""Pods with rails while parts of the cluster stop, die and come back: pods keep running, new ones come up, nothing leaks."""
import concurrent.futures
import itertools
import signal
import time

import pytest

import kserve

number = itertools.count(1)


def rail_pod(name, node=None, networks=kserve.NETWORK, rails=1, **meta):
    resources = {kserve.RESOURCE: str(rails)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": name, "namespace": kserve.NAMESPACE, "annotations": {"k8s.v1.cni.cncf.io/networks": networks}, **meta}, "spec": {
        **({"nodeName": node} if node else {}), "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"],
            "resources": {"requests": resources, "limits": resources}}]}}


class Pods:
    """Pods of a test, deleted with it."""

    def __init__(self, cluster):
        self.cluster, self.names = cluster, []

    def create(self, node=None, wait=True, **options):
        name = f"rail-{next(number)}"
        self.cluster.plane.post(f"/api/v1/namespaces/{kserve.NAMESPACE}/pods", rail_pod(name, node, **options))
        self.names.append(name)
        if wait:
            self.wait(name)
        return name

    def wait(self, *names, timeout=120):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda n: self.cluster.wait_pod(kserve.NAMESPACE, n, timeout), names))

    def main(self, name):
        return self.cluster.node_of(kserve.NAMESPACE, name).container(kserve.NAMESPACE, name, "main")

    def address(self, name):
        """The rail's address, from the network-status of the pod."""
        engine = kserve.Engine(self.cluster, "decode", kserve.NAMESPACE, name)
        return next(n for n in engine.networks() if n.get("interface") == "net1")["ips"][0]

    def reach(self, one, other):
        """@one reaches @other over the rail."""
        self.main(one).sh(f"ping -c 1 -W 5 -I net1 {self.address(other)}")

    def delete(self, *names):
        for n in names or self.names:
            self.cluster.delete_pod(kserve.NAMESPACE, n, wait=False)
        for n in names or self.names:
            self.cluster.wait_gone(kserve.NAMESPACE, n)
        self.names = [n for n in self.names if n not in (names or self.names)]


@pytest.fixture
def pods(cluster, kvrail):
    p = Pods(cluster)
    yield p
    p.delete()
    kvrail.nothing_left(kvrail.before, 120)


@pytest.mark.parametrize("service", ["kubelet", "containerd"])
def test_pods_live_on_and_new_ones_come_up_when_a_service_restarts(cluster, kvrail, pods, service):
    node = cluster.nodes[0]
    old, far = pods.create("node1"), pods.create("node2")
    beginning = pods.main(old).pid
    born = pods.create("node1", wait=False)  # while it restarts
    time.sleep(1)
    node.restart(service, signal.SIGKILL)
    pods.wait(born)
    assert pods.main(old).pid == beginning
    pods.reach(old, far)
    pods.reach(born, far)
    assert len({pods.address(n) for n in (old, far, born)}) == 3
