# SPDX-License-Identifier: Apache-2.0
"""KServe's DeepSeek sample: decode, then prefill, each a leader and a worker on a node of its own with all of its GPUs, unchanged but for what a
LeaderWorkerSet's controller adds."""
import ipaddress

import pytest

import leaderworker
from kserve import NETWORK, RESOURCE

IPC_LOCK, SYS_RAWIO, NET_RAW = 1 << 14, 1 << 17, 1 << 13  # include/uapi/linux/capability.h


@pytest.fixture(scope="module")
def sample(cluster, kvrail):
    leaderworker.prepare(cluster.plane)
    yield
    leaderworker.tidy(cluster.plane)


@pytest.fixture(scope="module", params=leaderworker.ROLES)
def group(request, cluster, kvrail, sample):
    g = leaderworker.Group(cluster, request.param)
    yield g
    g.delete()


def test_leader_and_worker_run_on_a_node_each_with_the_networks_that_they_name(group):
    assert group.leader.node is not group.worker.node
    for e in group.engines:
        main = next(c for c in e.pod["spec"]["containers"] if c["name"] == "main")
        assert e.pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] == NETWORK
        assert (main["resources"]["requests"][RESOURCE], main["resources"]["requests"]["cpu"]) == ("1", "64")
        interface, address, _ = e.rail()
        assert interface == "net1" and ipaddress.ip_address(address) in ipaddress.ip_network("10.0.132.0/24")
        assert set(e.ask("/about")["interfaces"]) == {"lo", "eth0", "net1"}
    assert group.leader.rail()[1] != group.worker.rail()[1]


def test_each_sees_its_own_rdma_device_and_pins_memory(group):
    for e in group.engines:
        about, device = e.ask("/about"), e.rail()[2]
        assert list(about["rdma"]) == [device]
        assert {"rdma_cm"} < set(about["infiniband"]) <= e.device_files() | {"rdma_cm"}
        assert about["memlock"] == about["unlimited"] and about["uid"] != 0
        # the capabilities that the manifest adds are of no use to a user who is not root: the limit is what counts
        assert int(about["capabilities"], 16) & (IPC_LOCK | SYS_RAWIO | NET_RAW) == 0 and about["no_new_privileges"] == "1"


def test_the_environment_is_exact_and_what_the_manifest_sets_by_hand_stays(group):
    for e in group.engines:
        environment, device = e.ask("/about")["environment"], e.rail()[2]
        assert environment["UCX_NET_DEVICES"] == environment["NVSHMEM_HCA_LIST"] == f"{device}:1"
        assert environment["NCCL_IB_HCA"] == f"={device}:1"
        main = next(c for c in e.pod["spec"]["containers"] if c["name"] == "main")
        by_hand = {v["name"]: v["value"] for v in main["env"] if "value" in v and v["name"] != "HOME"}
        assert {"NCCL_IB_GID_INDEX", "UCX_IB_GID_INDEX", "NCCL_SOCKET_IFNAME", "NVSHMEM_REMOTE_TRANSPORT", "LWS_LEADER_ADDRESS"} <= set(by_hand)
        assert {n: environment.get(n) for n in by_hand} == by_hand


def test_leader_and_worker_reach_one_another_over_their_rails(group):
    for one, other in (group.engines, group.engines[::-1]):
        main = one.node.container(one.namespace, one.name, "main")
        main.sh(f"ping -c 1 -W 10 -I net1 {other.rail()[1]}")
        result, moved = one.pull(other)
        assert result["transport"] == "verbs" and result["bytes"] > 0, result
        assert moved >= 3 * result["bytes"] // 4096, (moved, result)


def test_nothing_is_left_of_the_group(kvrail, group):
    group.delete()
    kvrail.nothing_left(kvrail.before, 120)
