# SPDX-License-Identifier: Apache-2.0
"""Pods with rails while parts of the cluster stop, die and come back: pods keep running, new ones come up, nothing leaks."""
import concurrent.futures
import itertools
import json
import re
import signal
import time

import pytest

import kserve
import nodes
from control import ClusterError
from kvrail import STATE

number = itertools.count(1)


def rail_pod(name, node=None, rails=1, on=None):
    """@node: where the scheduler is to put it; @on: where it is, without asking the scheduler."""
    resources = {kserve.RESOURCE: str(rails)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": name, "namespace": kserve.NAMESPACE, "labels": {"of": name}, "annotations": {
            "k8s.v1.cni.cncf.io/networks": ",".join([kserve.NETWORK] * rails)}}, "spec": {
        **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}), **({"nodeName": on} if on else {}), "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"],
            "resources": {"requests": resources, "limits": resources}}]}}


class Pods:
    """Pods of a test, deleted with it."""

    BASE = f"/api/v1/namespaces/{kserve.NAMESPACE}/pods"
    SETS = f"/apis/apps/v1/namespaces/{kserve.NAMESPACE}/replicasets"

    def __init__(self, cluster):
        self.cluster, self.plane, self.names, self.sets = cluster, cluster.plane, [], []

    def create(self, node=None, wait=True, **options):
        name = f"rail-{next(number)}"
        self.plane.post(self.BASE, rail_pod(name, node, **options))
        self.names.append(name)
        if wait:
            self.wait(name)
        return name

    def replicate(self, node=None, replicas=1, **options):
        """Pods of a ReplicaSet, which replaces those that fail. Returns its name, see of()."""
        name = f"rails-{next(number)}"
        pod = rail_pod(name, node, **options)
        self.plane.post(self.SETS, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": kserve.NAMESPACE}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"of": name}}, "template": {
                "metadata": {k: pod["metadata"][k] for k in ("labels", "annotations")}, "spec": pod["spec"]}}})
        self.sets.append(name)
        return name

    def of(self, replicaset):
        return self.plane.get(f"{self.BASE}?labelSelector=of%3D{replicaset}")["items"]

    def wait(self, *names, timeout=180):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda n: self.cluster.wait_pod(kserve.NAMESPACE, n, timeout), names))

    def is_ready(self, name):
        return nodes.condition(self.cluster.pod(kserve.NAMESPACE, name), "Ready")

    def wait_replicas(self, replicaset, replicas=1, timeout=240):
        """Names of the pods that are Ready, and what became of those that failed: [(name, reason, message)]."""
        def ready():
            pods = [p["metadata"]["name"] for p in self.of(replicaset) if nodes.condition(p, "Ready")]
            return pods if len(pods) == replicas else None
        try:
            names = self.plane.wait_for(ready, f"{replicas} pods of {replicaset} are Ready", timeout)
        except ClusterError as e:
            stories = [self.cluster.story(kserve.NAMESPACE, p["metadata"]["name"]) for p in self.of(replicaset)]
            raise ClusterError("\n".join([str(e), *stories])) from None
        failed = [(p["metadata"]["name"], p["status"].get("reason"), p["status"].get("message"))
                  for p in self.of(replicaset) if p["status"].get("phase") == "Failed"]
        return names, failed

    def main(self, name):
        return self.cluster.node_of(kserve.NAMESPACE, name).container(kserve.NAMESPACE, name, "main")

    def rails(self, name):
        """[(node, VF, address)], from the network-status of the pod."""
        engine = kserve.Engine(self.cluster, "decode", kserve.NAMESPACE, name)
        return [(engine.node.name, n["device-info"]["pci"]["pci-address"], n["ips"][0])
                for n in engine.networks() if n.get("interface", "").startswith("net")]

    def address(self, name):
        return self.rails(name)[0][2]

    def each_has_its_own(self, *names, rails=None):
        """No VF and no address was given twice."""
        found = [r for n in names for r in self.rails(n)]
        assert len({r[:2] for r in found}) == len({r[2] for r in found}) == len(found) == (rails or len(names)), found

    def reach(self, one, other):
        """@one reaches @other over the rail."""
        self.main(one).sh(f"ping -c 1 -W 5 -I net1 {self.address(other)}")

    def delete(self, *names):
        """These pods, or all."""
        gone = names or tuple(self.names)
        for s in () if names else self.sets:
            self.plane.delete(f"{self.SETS}/{s}", {"propagationPolicy": "Background"})
        for n in gone:
            self.cluster.delete_pod(kserve.NAMESPACE, n, wait=False)
        for n in gone:
            self.cluster.wait_gone(kserve.NAMESPACE, n)
        for s in () if names else self.sets:
            self.plane.wait_for(lambda: not self.of(s), f"the pods of {s} are gone", 180)
        self.names, self.sets = [n for n in self.names if n not in gone], self.sets if names else []


def wait_adding(node, pod):
    """Until the ADD of a pod whose name begins so has begun on a node."""
    node.wait_for(f"grep -rqs '\"{pod}' {STATE}/attach", timeout=60, every=0.1)


@pytest.fixture
def pods(cluster, kvrail):
    p = Pods(cluster)
    yield p
    p.delete()
    kvrail.nothing_left(kvrail.before, 120)


@pytest.mark.parametrize("service", ["kubelet", "containerd"])
def test_pods_live_on_and_new_ones_come_up_when_a_service_restarts(cluster, kvrail, pods, service):
    """The kubelet refuses for good what it admits in its own start before anyone could register (kubernetes/kubernetes#109595): that is replaced."""
    node = cluster.nodes[0]
    old, far = pods.create("node1"), pods.create("node2")
    beginning = pods.main(old).pid
    newborn = pods.replicate("node1")
    wait_adding(node, newborn)
    node.restart(service, signal.SIGKILL)
    (born,), failed = pods.wait_replicas(newborn)
    assert all(reason == "UnexpectedAdmissionError" and "no healthy devices present" in message for _, reason, message in failed), failed
    assert len(failed) <= (service == "kubelet")
    assert pods.main(old).pid == beginning
    pods.reach(old, far)
    pods.reach(born, far)
    pods.each_has_its_own(old, far, born)


def test_an_agent_killed_during_adds_and_dels_leaves_nothing_and_pods_still_come_and_go(cluster, kvrail, pods):
    node = cluster.nodes[0]
    old, far = pods.create("node1"), pods.create("node2")
    beginning = pods.main(old).pid
    for pause in 0, 0.3, 0.8:
        name = pods.create("node1", wait=False)
        wait_adding(node, name)
        kill_agent(kvrail, node, pause)
        pods.wait(name)
        pods.reach(name, far)
        pods.each_has_its_own(old, far, name)
        sandbox = node.container(kserve.NAMESPACE, name, "main").pid
        cluster.delete_pod(kserve.NAMESPACE, name, wait=False)
        node.wait_for(f"! kill -0 {sandbox} 2>/dev/null", timeout=60, every=0.1)  # its DEL is next
        kill_agent(kvrail, node, pause)
        cluster.wait_gone(kserve.NAMESPACE, name)
        pods.names.remove(name)
        wait_vfs(node, 6)
    assert pods.main(old).pid == beginning
    pods.reach(old, far)


def wait_vfs(node, n):
    """Until so many of the port's seven VFs are on the host."""
    node.wait_for(f"[ $(ls -d /sys/class/net/p0/device/virtfn*/net/* | wc -l) -eq {n} ]", timeout=60)


def kill_agent(kvrail, node, pause):
    """SIGKILL after a moment; until the agent is there again."""
    time.sleep(pause)
    assert kvrail.kill_agent(node)
    kvrail.wait_agent(node)


def test_pods_live_and_end_while_the_api_server_is_away_for_a_minute(cluster, kvrail, pods):
    node, plane = cluster.nodes[0], cluster.plane
    old, gone, again = pods.create("node1", wait=False), pods.create("node1", wait=False), pods.create("node1", wait=False)
    far = pods.create("node2", wait=False)
    pods.wait(old, gone, again, far)
    address, main = pods.address(far), pods.main(old)
    ending, dying = pods.main(gone), pods.main(again)
    sandbox = node.sh(f"pgrep -P $(ps -o ppid= -p {dying.pid}) | grep -vx {dying.pid}")  # the other child of their shim
    cluster.delete_pod(kserve.NAMESPACE, gone, wait=False)
    node.wait_for(f"grep -q 'SyncLoop DELETE.*/{gone}\"' /var/log/kubelet.log", timeout=60, every=0.1)
    plane.api_server.kill()
    away = time.monotonic()
    try:
        node.sh(f"kill -9 {sandbox}")  # kubelet makes the pod a new sandbox: a DEL, and an ADD that waits for an address
        for c in ending, dying:
            node.wait_for(f"! kill -0 {c.pid} 2>/dev/null", timeout=60)
        wait_vfs(node, 6)  # both gave theirs back
        while time.monotonic() < away + 60:
            main.sh(f"ping -c 4 -W 5 -I net1 {address}")
    finally:
        plane.api_server.start()
        plane.wait_ready()
    cluster.wait_gone(kserve.NAMESPACE, gone)
    pods.names.remove(gone)
    for n in cluster.nodes:
        cluster.wait_node(n.name)
    # its pods were not Ready while their nodes were not: till they are again, admission has no endpoint
    plane.kubectl("-n", kserve.OPERATOR_NAMESPACE, "rollout", "status", "deployment/kvrail-controller", "--timeout=120s", timeout=130)
    plane.wait_for(lambda: pods.is_ready(again) and cluster.pod(kserve.NAMESPACE, again)["status"]["containerStatuses"][0]["restartCount"],
                   f"{again} runs again", 180)
    assert pods.main(old).pid == main.pid
    pods.reach(again, far)
    pods.each_has_its_own(old, again, far)


def test_two_pods_race_for_the_last_vf_and_one_waits_until_it_is_free(cluster, kvrail, pods):
    plane = cluster.plane
    pods.create("node1", rails=6)
    two = [pods.create("node1", wait=False) for _ in range(2)]
    first = plane.wait_for(lambda: next((n for n in two if pods.is_ready(n)), None), "one of the two is Ready", 180)
    second = next(n for n in two if n != first)
    plane.wait_for(lambda: any("Insufficient " + kserve.RESOURCE in e for e in cluster.events(kserve.NAMESPACE, second)), "the scheduler says what is missing", 60)
    forced = pods.create(wait=False, on="node1")  # past the scheduler
    plane.wait_for(lambda: cluster.pod(kserve.NAMESPACE, forced)["status"].get("phase") == "Failed", "the kubelet refuses a pod", 60)
    assert kserve.RESOURCE in cluster.pod(kserve.NAMESPACE, forced)["status"]["message"]
    assert not cluster.pod(kserve.NAMESPACE, second)["spec"].get("nodeName")
    pods.delete(first)
    pods.wait(second)


def registrations(node):
    """How often the kubelet was told of the VFs."""
    return int(node.sh(f"grep -c 'Got registration request.*{kserve.RESOURCE}\"' /var/log/kubelet.log || true"))


def test_what_pods_hold_is_given_to_nobody_when_kubelets_checkpoint_is_gone(cluster, kvrail, pods):
    node, plane = cluster.nodes[0], cluster.plane
    old = pods.create("node1", rails=3)
    beginning, before = pods.main(old).pid, registrations(node)
    node.end("kubelet", signal.SIGKILL)
    node.sh("rm /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint")
    argv, environment, _ = node.services["kubelet"]
    node.begin("kubelet", argv, environment)
    plane.wait_for(lambda: registrations(node) > before, "the VFs are registered again", 120)
    cluster.wait_node("node1")
    new = pods.create("node1", rails=4)  # all the others
    pods.each_has_its_own(old, new, rails=7)
    assert pods.main(old).pid == beginning
    pods.reach(new, old)


def test_a_removed_socket_of_the_device_plugin_comes_back(cluster, kvrail, pods):
    node = cluster.nodes[0]
    old, before = pods.create("node1"), registrations(node)
    node.sh(f"rm /var/lib/kubelet/device-plugins/{kserve.RESOURCE.replace('/', '_')}.sock")
    cluster.plane.wait_for(lambda: registrations(node) > before, "the VFs are registered again", 60)
    cluster.plane.wait_for(lambda: kvrail.offered(node).get(kserve.RESOURCE) == 7, "the VFs are offered", 60)
    pods.each_has_its_own(old, pods.create("node1"))


def test_a_nad_deleted_while_its_pod_lives_holds_up_neither_the_pods_end_nor_the_next_one(cluster, kvrail, pods):
    name = pods.create("node1")
    path = f"/apis/k8s.cni.cncf.io/v1/namespaces/{kserve.NAMESPACE}/network-attachment-definitions/{kserve.NETWORK}"
    uid = cluster.plane.get(path)["metadata"]["uid"]
    cluster.plane.delete(path)
    pods.delete(name)
    cluster.plane.wait_for(lambda: (cluster.plane.find(path) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, "the controller makes the NAD again", 60)
    pods.create("node1")


def sriov_network(name):
    return {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork", "metadata": {"name": name, "namespace": kserve.OPERATOR_NAMESPACE}, "spec": {
        "networkNamespace": kserve.NAMESPACE, "resourceName": kserve.RESOURCE.partition("/")[2], "ipam": '{"type": "whereabouts", "range": "10.0.133.0/24"}'}}


def test_controllers_killed_while_pods_and_networks_are_made_do_all_of_it_in_the_end(cluster, kvrail, pods):
    """Both replicas: whoever leads, and whoever answers admission."""
    plane = cluster.plane
    nads = f"/apis/k8s.cni.cncf.io/v1/namespaces/{kserve.NAMESPACE}/network-attachment-definitions"
    networks = f"/apis/sriovnetwork.openshift.io/v1/namespaces/{kserve.OPERATOR_NAMESPACE}/sriovnetworks"
    born, made = pods.replicate(replicas=3), []
    for pause in 0, 0.3:
        plane.wait_for(lambda: plane.post(networks, sriov_network(f"made-{len(made)}")), "the network is admitted", 120)
        made.append(f"made-{len(made)}")
        time.sleep(pause)
        for n in cluster.nodes:
            n.run("pkill -9 -f '^/usr/local/bin/kvrail controller'")
    for name in made:
        plane.wait_for(lambda: plane.find(f"{nads}/{name}"), f"the NAD {name} is there", 120)
    names, failed = pods.wait_replicas(born, 3)
    assert not failed
    pods.each_has_its_own(*names)
    for name in made:
        plane.wait_for(lambda: plane.find(f"{networks}/{name}") is None or plane.delete(f"{networks}/{name}") and False, f"{name} is gone", 120)
        plane.wait_for(lambda: plane.find(f"{nads}/{name}") is None, f"the NAD {name} is gone", 120)


def shape(found):
    """What attachments change of the ports, but for what is another after each boot: names and hardware addresses of VFs."""
    return re.sub("eth[0-9]+", "NAME", re.sub("[0-9a-f]{2}(:[0-9a-f]{2}){5}", "ADDRESS", found["links"]))


def holding_rails(node):
    return [a for a in json.loads(node.sh("kvrail status --output json"))["attachments"] if a["rails"]]


def test_a_node_whose_plug_was_pulled_gets_its_pods_back_with_their_rails(cluster, kvrail, pods):
    """No device is offered before the agent, a pod itself, runs again: what the kubelet refuses by then is replaced."""
    node = cluster.nodes[0]
    far = pods.create("node2", wait=False)
    cut = pods.replicate("node1")
    pods.wait(far)
    pods.wait_replicas(cut)
    boot = cluster.plane.get("/api/v1/nodes/node1")["status"]["nodeInfo"]["bootID"]
    node.power_cycle()
    cluster.plane.wait_for(lambda: cluster.plane.get("/api/v1/nodes/node1")["status"]["nodeInfo"]["bootID"] != boot, "node1 tells that it began anew", 300)
    cluster.wait_node("node1")
    kvrail.wait_agent(node)
    (again,), failed = pods.wait_replicas(cut)
    assert all(reason == "UnexpectedAdmissionError" for _, reason, _ in failed), failed
    pods.reach(again, far)
    pods.each_has_its_own(again, far)
    pods.delete()
    # the pods that came back with the node (the controller's) are attached by kvrail now, without rails
    cluster.plane.wait_for(lambda: shape(kvrail.found(node)) == shape(kvrail.before[node.name]) and not holding_rails(node), "the node is as it was", 120)
    kvrail.before[node.name] = kvrail.found(node)
