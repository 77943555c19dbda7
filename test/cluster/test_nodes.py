# SPDX-License-Identifier: Apache-2.0
"""The nodes that the other tests stand on, before kvrail: real kubelets that run pods on a bridge."""
import concurrent.futures

import images


def shell_pod(name, node, command="echo hello; sleep 100000", **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {
        "nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": "busybox", "command": ["sh", "-c", command]}], **spec}}


def test_nodes_are_ready_with_ports_and_gpus(cluster):
    for n in cluster.nodes:
        node = cluster.plane.get(f"/api/v1/nodes/{n.name}")
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.34.2"
        cluster.plane.wait_for(lambda: cluster.plane.get(f"/api/v1/nodes/{n.name}")["status"]["allocatable"].get("nvidia.com/gpu") == "8",
                               "8 GPUs are offered", 60)
        # what kubelet is shown is more than the guest has: room for pods that ask for 8 GPUs' share of a server
        assert int(node["status"]["capacity"]["cpu"]) == 192
        assert n.sh("ls -d /sys/class/net/p0 /sys/class/net/p1")


def test_pods_on_two_nodes_reach_each_other_and_the_api_server_and_it_reaches_them(cluster):
    names = {"near": "node1", "far": "node2"}
    for name, node in names.items():
        cluster.plane.apply(shell_pod(name, node))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pods = list(pool.map(lambda name: cluster.wait_pod("default", name), names))
    addresses = [p["status"]["podIP"] for p in pods]
    assert addresses[0].startswith("10.244.1.") and addresses[1].startswith("10.244.2.")
    near = cluster.nodes[0].container("default", "near", "main")
    near.sh(f"ping -c 1 -W 5 {addresses[1]}")
    near.sh("nc 10.96.0.1 443 </dev/null")
    assert cluster.plane.kubectl("exec", "far", "--", "sh", "-c", "echo in $(hostname)") == "in far\n"
    assert cluster.plane.kubectl("logs", "near") == "hello\n"
    for name in names:
        cluster.delete_pod("default", name)


def test_a_pull_policy_always_is_honoured(cluster):
    cluster.plane.apply(shell_pod("always", "node1", containers=[{
        "name": "main", "image": images.BUSYBOX, "imagePullPolicy": "Always", "command": ["sleep", "100000"]}]))
    before = len(cluster.registry.pulled)
    cluster.wait_pod("default", "always")
    assert images.BUSYBOX in cluster.registry.pulled[before:]
    cluster.delete_pod("default", "always")
