# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, "Switch over" and "And back", with the Go components (KVRAIL_PEERS) running first: no object is edited, pods of either side
live on under the other and can be deleted there. One node; the Go programs run on it as processes, as no image of theirs is at hand."""
import json
import subprocess

import pytest

import gostack
import images
import kserve
import nodes
from control import TREE

SYSTEM, NAMESPACE = kserve.OPERATOR_NAMESPACE, "switch"
RESOURCE, VFS = "openshift.io/switchrdma", 4
IPAM = {"type": "whereabouts", "range": "10.9.0.0/24"}
OVERLAY = TREE / "docs/examples/switch-over"

pytestmark = pytest.mark.skipif(bool(gostack.missing()), reason=f"KVRAIL_PEERS has no {' '.join(gostack.missing())}")


def operators_objects():
    """What stands in the API server where the SR-IOV operator ran: policy, network, and the NAD as operator 1.6 makes it of the network: without owner-ref."""
    meta = {"namespace": SYSTEM, "name": "switch"}
    nad = {"cniVersion": "1.0.0", "name": "switch", "type": "sriov", "vlan": 0, "vlanQoS": 0, "logLevel": "info", "ipam": IPAM}
    return [
        {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy", "metadata": meta, "spec": {
            "resourceName": "switchrdma", "numVfs": VFS, "mtu": 1500, "deviceType": "netdevice", "nodeSelector": {"kubernetes.io/os": "linux"},
            "nicSelector": {"pfNames": ["p0"]}, "priority": 98}},
        {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork", "metadata": {
            **meta, "annotations": {"operator.sriovnetwork.openshift.io/last-network-namespace": NAMESPACE}}, "spec": {
            "resourceName": "switchrdma", "networkNamespace": NAMESPACE, "ipam": json.dumps(IPAM)}},
        {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {
            "name": "switch", "namespace": NAMESPACE, "annotations": {"k8s.v1.cni.cncf.io/resourceName": RESOURCE}},
         "spec": {"config": json.dumps(nad)}}]


def rail_pod(name):
    limits = {RESOURCE: "1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {
        "k8s.v1.cni.cncf.io/networks": "switch"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"],
            "resources": {"limits": limits, "requests": limits}}]}}


@pytest.fixture(scope="module")
def cluster():
    with nodes.Cluster(nodes=1, name="switch") as c:
        yield c


class Site:
    """A node, its Go stack, and kvrail beside or instead of it."""

    def __init__(self, cluster):
        self.cluster, self.plane, self.node = cluster, cluster.plane, cluster.nodes[0]
        self.go = gostack.GoStack(cluster, RESOURCE)

    def offers(self, count=VFS):
        self.plane.wait_for(lambda: self.plane.get(f"/api/v1/nodes/{self.node.name}")["status"]["allocatable"].get(RESOURCE) == str(count),
                            f"{self.node.name} offers {count} of {RESOURCE}", 240)

    def create(self, name):
        self.plane.post(f"/api/v1/namespaces/{NAMESPACE}/pods", rail_pod(name))
        self.cluster.wait_pod(NAMESPACE, name, 240)

    def delete(self, name):
        self.cluster.delete_pod(NAMESPACE, name)

    def address(self, name):
        status = json.loads(self.cluster.pod(NAMESPACE, name)["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
        return next(n["ips"][0] for n in status if n.get("interface") == "net1")

    def main(self, name):
        return self.node.container(NAMESPACE, name, "main")

    def reach(self, one, other):
        """@one reaches @other over their rails."""
        self.main(one).sh(f"ping -c 1 -W 10 -I net1 {self.address(other)}")

    def pools(self):
        """{pod: number of addresses that it holds}"""
        held = {}
        for p in self.plane.get("/apis/whereabouts.cni.cncf.io/v1alpha1/ippools")["items"]:
            for a in p["spec"].get("allocations", {}).values():
                held[a["podref"]] = held.get(a["podref"], 0) + 1
        return held

    def nad(self):
        path = f"/apis/k8s.cni.cncf.io/v1/namespaces/{NAMESPACE}/network-attachment-definitions/switch"
        return json.loads(self.plane.get(path)["spec"]["config"])

    def vfs(self):
        """Names of the VFs' interfaces that are on the host."""
        return sorted(self.node.sh("ls -d /sys/class/net/p0/device/virtfn*/net/* 2>/dev/null | sed 's,.*/,,' || true").split())

    def conf(self):
        return self.node.sh("ls /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist | sort | head -1")


@pytest.fixture(scope="module")
def site(cluster):
    s = Site(cluster)
    s.plane.install_crds()
    for n in SYSTEM, NAMESPACE:
        s.plane.namespace(n)
    s.node.sh(f"echo {VFS} > /sys/class/net/p0/device/sriov_numvfs; ip link set p0 up", timeout=120)
    # as udev does: sriov-cni gives a VF its host's name back while it is in the pod, where eth0 is taken
    s.node.sh("cd /sys/class/net/p0/device; for vf in virtfn*; do ip link set $(ls $vf/net) name p0v${vf#virtfn}; done")
    s.plane.apply(operators_objects())
    s.go.start()
    s.offers()
    return s


def test_kvrail_takes_over_a_node_of_the_go_components_and_hands_it_back(site):
    plane, node = site.plane, site.node
    vfs = site.vfs()
    site.create("before")
    began, config = site.main("before").pid, site.nad()

    # step 1: installed, on no node yet
    archive = images.build("test-image.tar")
    subprocess.run([TREE / "tools/image", "--build", images.build().parent, archive], check=True, capture_output=True)
    site.cluster.registry.archive(archive)
    plane.kubectl("apply", "-k", OVERLAY)
    plane.kubectl("-n", SYSTEM, "rollout", "status", "deployment/kvrail-controller", "--timeout=240s", timeout=260)
    assert site.conf() == gostack.CONF
    # steps 2 and 3
    site.go.stop_device_plugin()
    plane.kubectl("cordon", node.name)
    plane.kubectl("label", "node", node.name, "kvrail.io/agent=true")
    plane.kubectl("-n", SYSTEM, "rollout", "status", "daemonset/kvrail-agent", "--timeout=240s", timeout=260)
    plane.kubectl("uncordon", node.name)
    site.offers()
    assert site.conf() == "/etc/cni/net.d/00-kvrail.conf"
    assert site.nad() == config
    ready = {c["type"]: c for c in plane.get(f"/apis/sriovnetwork.openshift.io/v1/namespaces/{SYSTEM}/sriovnetworks/switch")["status"]["conditions"]}["Ready"]
    assert ready["status"] == "True", ready

    # the pod of before runs on; a new one gets another VF and another address of the same pool, and both talk
    assert site.main("before").pid == began
    site.create("after")
    assert "switch/after" in node.sh("kvrail status")
    assert site.address("after") != site.address("before") and site.pools() == {f"{NAMESPACE}/before": 1, f"{NAMESPACE}/after": 1}
    site.reach("after", "before")
    site.reach("before", "after")

    # it is deleted under kvrail: VF, name and address come back
    site.delete("before")
    plane.wait_for(lambda: site.pools() == {f"{NAMESPACE}/after": 1}, "the address is given back", 60)
    plane.wait_for(lambda: len(site.vfs()) == VFS - 1, "the VF is back", 60)
    site.delete("after")
    plane.wait_for(lambda: site.vfs() == vfs and not site.pools(), "VFs, names and addresses are back", 60)

    # and back
    site.create("stays")  # against the advice: what Multus does not know of can be deleted all the same
    plane.kubectl("delete", "-k", TREE / "deploy/programs", "--timeout=240s", timeout=260)
    plane.wait_for(lambda: not plane.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"], "kvrail is gone", 120)
    assert site.conf() == gostack.CONF
    site.go.start_device_plugin()
    site.offers()
    site.create("again")
    site.reach("again", "stays")
    site.delete("again")
    site.delete("stays")
    plane.wait_for(lambda: len(site.vfs()) == VFS, "the VFs are back", 60)
    assert f"{NAMESPACE}/again" not in site.pools()
