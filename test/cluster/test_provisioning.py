# SPDX-License-Identifier: Apache-2.0
"""A node state that changes while pods use its VFs, on a node with real SR-IOV ports, kubelet and containerd. No controller: the test is the one who
makes the node state and writes its spec."""
import json

import pytest

import nodes
from control import GUESTS_HOST

SYSTEM = "kvrail-system"
STATE = f"/apis/sriovnetwork.openshift.io/v1/namespaces/{SYSTEM}/sriovnetworknodestates/node1"
PORT = "0000:01:00.0"


@pytest.fixture(scope="module")
def cluster():
    with nodes.Cluster(nodes=1, name="provision") as c:
        c.plane.install_crds()
        c.plane.namespace(SYSTEM)
        c.plane.apply({"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState", "metadata": {"name": "node1", "namespace": SYSTEM}})
        node = c.nodes[0]
        node.put("/etc/kvrail.kubeconfig", c.plane.kubeconfig(host=GUESTS_HOST).read_bytes(), 0o600)
        node.begin("agent", ["kvrail", "agent", "--kubeconfig=/etc/kvrail.kubeconfig", "--soft-roce", "--metrics=127.0.0.1:9478"],
                   {"NODE_NAME": "node1", "NAMESPACE": SYSTEM, "WHEREABOUTS_NAMESPACE": "kube-system"})
        node.wait_for("kvrail status", timeout=60)
        yield c


def wants(cluster, vfs, rdma=True):
    """The spec that a controller would write for a policy with so many VFs."""
    group = {"resourceName": "rail", "deviceType": "netdevice", "vfRange": f"0-{vfs - 1}", "policyName": "rail", "isRdma": rdma, "mtu": 9000}
    cluster.plane.patch(STATE, {"spec": {"interfaces": [{"pciAddress": PORT, "name": "p0", "numVfs": vfs, "mtu": 9000, "vfGroups": [group]}]}},
                        content_type="application/merge-patch+json")


def state(cluster, sync, vfs, timeout=60):
    """The status once it says @sync and the port has @vfs."""
    def look():
        s = (cluster.plane.find(STATE) or {}).get("status", {})
        port = next((i for i in s.get("interfaces", []) if i["pciAddress"] == PORT), {})
        return s if s.get("syncStatus") == sync and port.get("numVfs", 0) == vfs else None
    try:
        return cluster.plane.wait_for(look, f"{sync} with {vfs} VFs", timeout)
    except Exception as e:
        raise AssertionError(f"{e}\n{cluster.plane.find(STATE)}\n{cluster.nodes[0].sh('tail -30 /var/log/agent.log')}") from None


def allocatable(cluster, resource="openshift.io/rail"):
    return cluster.plane.get("/api/v1/nodes/node1")["status"]["allocatable"].get(resource)


def links(cluster):
    return cluster.nodes[0].sh("ls -d /sys/class/net/p0/device/virtfn* | wc -l").strip()


def pod(name):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "annotations": {"k8s.v1.cni.cncf.io/networks": "rail"}},
            "spec": {"nodeName": "node1", "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "main", "image": "busybox", "command": ["sleep", "100000"],
                "resources": {"requests": {"openshift.io/rail": "1"}, "limits": {"openshift.io/rail": "1"}}}]}}


def test_a_port_is_provisioned_and_its_vfs_are_offered(cluster):
    state(cluster, "Succeeded", 0)
    wants(cluster, 3)
    status = state(cluster, "Succeeded", 3)
    port = next(i for i in status["interfaces"] if i["pciAddress"] == PORT)
    assert port["name"] == "p0" and [v["driver"] for v in port["Vfs"]] == ["igbvf"] * 3 and port["totalvfs"] == 7
    cluster.plane.wait_for(lambda: allocatable(cluster) == "3", "3 devices are offered", 60)
    assert int(allocatable(cluster, "rdma/roce_gdr")) > 0


def test_a_port_whose_vf_a_pod_uses_waits_for_it_says_so_and_then_changes(cluster):
    plane, node = cluster.plane, cluster.nodes[0]
    plane.apply({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                 "metadata": {"name": "rail", "namespace": "default", "annotations": {"k8s.v1.cni.cncf.io/resourceName": "openshift.io/rail"}},
                 "spec": {"config": json.dumps({"cniVersion": "1.0.0", "name": "rail", "type": "sriov",
                                                "ipam": {"type": "whereabouts", "range": "10.9.0.0/24"}})}})
    plane.apply(pod("user"))
    cluster.wait_pod("default", "user")
    address = node.container("default", "user", "main").sh("ip -o addr show net1")
    wants(cluster, 5)
    status = state(cluster, "InProgress", 3)
    assert "default/user" in status["lastSyncError"] and "p0" in status["lastSyncError"], status
    assert plane.get(STATE)["metadata"]["annotations"]["sriovnetwork.openshift.io/desired-state"] == "Drain_Required"
    assert any("default/user" in p for p in json.loads(node.sh("kvrail status -o json"))["problems"])
    plane.wait_for(lambda: [e for e in plane.get("/api/v1/namespaces/kvrail-system/events")["items"] if "default/user" in e["message"]], "an event", 30)
    version = plane.get(STATE)["metadata"]["resourceVersion"]
    node.sh("sleep 35")  # a round of looking for drift, in which nothing is written
    assert plane.get(STATE)["metadata"]["resourceVersion"] == version
    assert node.container("default", "user", "main").sh("ip -o addr show net1") == address and links(cluster) == "3"
    cluster.delete_pod("default", "user")
    assert "lastSyncError" not in state(cluster, "Succeeded", 5)
    assert plane.get(STATE)["metadata"]["annotations"]["sriovnetwork.openshift.io/desired-state"] == "Idle"
    plane.wait_for(lambda: allocatable(cluster) == "5", "5 devices are offered", 60)


def test_a_policy_without_is_rdma_gives_the_network_only_and_says_so(cluster):
    node = cluster.nodes[0]
    for name, rdma in ("with", True), ("without", False):
        wants(cluster, 5, rdma)
        state(cluster, "Succeeded", 5)
        cluster.plane.apply(pod(name))
        cluster.wait_pod("default", name)
        main = node.container("default", name, "main")
        (attached,) = [a for a in json.loads(node.sh("kvrail status -o json"))["attachments"] if a["pod"]["name"] == name]
        assert "10.9.0." in main.sh("ip -o addr show net1") and attached["rails"][0]["rdma"]
        assert bool(main.devices()) == rdma and main.environment()["UCX_NET_DEVICES"] == (attached["rails"][0]["rdma"] + ":1" if rdma else "net1")
        assert any("no isRdma: true" in w for w in attached.get("warnings", [])) != rdma
        cluster.delete_pod("default", name)


def test_a_link_that_goes_down_takes_its_devices_from_the_scheduler_and_gives_them_back(cluster):
    node = cluster.nodes[0]
    node.sh("ip link set p0 down")
    cluster.plane.wait_for(lambda: allocatable(cluster) == "0", "no device is healthy", 60)
    assert any("unhealthy" in p for p in json.loads(node.sh("kvrail status -o json"))["problems"])
    node.sh("ip link set p0 up")
    cluster.plane.wait_for(lambda: allocatable(cluster) == "5", "5 devices again", 60)
