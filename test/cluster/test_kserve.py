# SPDX-License-Identifier: Apache-2.0
"""KServe's prefill and decode pods, unchanged, on two nodes: what they find, and that the KV cache moves by RDMA."""
import ipaddress
import json
import re
import signal

import pytest

import images
import kserve

BYTES = 64 * 65536  # that a NIXL agent of the tests reads


@pytest.fixture(scope="module")
def engines(cluster, kvrail):
    kserve.prepare(cluster.plane)
    made = kserve.start(cluster)
    yield made
    for e in made.values():
        if cluster.plane.find(f"/api/v1/namespaces/{e.namespace}/pods/{e.name}"):
            e.delete()


@pytest.fixture(params=["prefill", "decode"])
def engine(request, engines):
    return engines[request.param]


def test_the_pod_was_admitted_with_its_networks_resource_and_got_one_vf_of_it(engine):
    main = next(c for c in engine.pod["spec"]["containers"] if c["name"] == "main")
    assert main["resources"]["requests"][kserve.RESOURCE] == "1"
    interface, address, _ = engine.rail()
    assert interface == "net1" and ipaddress.ip_address(address) in ipaddress.ip_network("10.0.132.0/24")
    about = engine.ask("/about")
    assert about["interfaces"]["net1"] == "9000" and set(about["interfaces"]) == {"lo", "eth0", "net1"}


def test_no_two_pods_have_the_same_address(engines):
    assert engines["prefill"].rail()[1] != engines["decode"].rail()[1]


def test_the_container_sees_its_rdma_device_and_no_other(engine):
    about = engine.ask("/about")
    assert list(about["rdma"]) == [engine.rail()[2]]
    mine = engine.device_files()
    assert {"rdma_cm"} < set(about["infiniband"]) <= mine | {"rdma_cm"}, (about["infiniband"], mine)


def test_other_containers_of_the_pod_get_no_device(engines):
    decode = engines["decode"]
    assert decode.node.container(decode.namespace, decode.name, "llm-d-routing-sidecar").devices() == []


def test_memory_may_be_pinned_without_any_capability(engine):
    about = engine.ask("/about")
    assert about["memlock"] == about["unlimited"]
    assert int(about["capabilities"], 16) == 0 and about["seccomp"] == "2" and about["no_new_privileges"] == "1" and about["uid"] != 0


def test_the_environment_is_exact_for_this_pod_and_leaves_what_the_pod_sets(engine):
    about = engine.ask("/about")
    environment, (_, address, device) = about["environment"], engine.rail()
    assert environment["UCX_NET_DEVICES"] == f"{device}:1"
    assert environment["NCCL_IB_HCA"] == f"={device}:1"
    assert environment["UCX_TLS"] == "rc,sm,self,cuda_copy,cuda_ipc"  # the pod's own
    assert environment["VLLM_NIXL_SIDE_CHANNEL_HOST"] == engine.address
    gids = about["rdma"][device]["gids"]
    mine = [i for i, (gid, kind) in gids.items() if gid_address(gid) == address and kind == "RoCE v2"]
    assert environment["NCCL_IB_GID_INDEX"] in mine
    assert environment["NVSHMEM_IB_GID_INDEX"] in mine
    assert environment["UCX_IB_GID_INDEX"] == "auto"  # KServe's script puts a number into one that is not set


def gid_address(gid):
    """The IPv4 address that a GID stands for, or None."""
    mapped = ipaddress.IPv6Address(gid).ipv4_mapped
    return str(mapped) if mapped else None


def test_kvrail_kv_pulls_a_cache_from_the_other_node_by_rdma_with_checksum(engines):
    prefill, decode = engines["prefill"], engines["decode"]
    assert prefill.node is not decode.node
    result, moved = decode.pull(prefill)
    assert result["transport"] == "verbs" and result["bytes"] > 0, result
    assert moved >= 3 * result["bytes"] // 4096, (moved, result)


def test_nixl_agents_read_blocks_from_the_other_node_by_rdma_with_the_injected_environment(engines):
    if not (images.NIXL / "ready").exists():
        pytest.skip("NIXL is not in .deps/nixl: run 'make deps' with PyPI in reach")
    prefill, decode = engines["prefill"], engines["decode"]
    offer = prefill.ask("/prefill", by="nixl", timeout=200)
    assert offer.get("host") == prefill.address, offer
    before = decode.counters()
    r = decode.ask("/decode", by="nixl", peer=prefill.address, timeout=300)
    assert r["rc"] == 0, r
    result = json.loads(re.search(r'\{"state".*?\}', r["out"])[0])  # UCX's log is in between
    after = decode.counters()
    assert (result["state"], result["backend"], result["wrong_blocks"]) == ("DONE", "UCX", 0), r
    assert f"rma(rc_verbs/{decode.rail()[2]}:1" in r["out"] + r["err"], r
    assert after["rcvd_pkts"] - before["rcvd_pkts"] >= BYTES // 4096


def test_nothing_is_left_when_the_pods_are_deleted(cluster, kvrail, engines):
    for e in engines.values():
        e.delete()
    kvrail.nothing_left(kvrail.before, 120)


def test_kserves_own_controller_gets_its_sample_running(cluster, kvrail):
    why = kserve.Controller.missing()
    if why:
        pytest.skip(why)
    cluster.plane.kubectl("delete", "-n", kserve.NAMESPACE, "--ignore-not-found",  # of the tests before: the controller makes its own
                          f"serviceaccount/{kserve.SERVICE}-kserve", f"secret/{kserve.SERVICE}-kserve-self-signed-certs")
    controller = kserve.Controller(cluster.plane).start()
    controller.apply_sample()
    engines = controller.engines(cluster)
    decode = next(e for e in engines if e.role == "decode")
    prefill = next(e for e in engines if e.role == "prefill" and e.node is not decode.node)
    assert len({e.rail()[1] for e in engines}) == len(engines)
    result, moved = decode.pull(prefill)
    assert result["transport"] == "verbs" and moved >= 3 * result["bytes"] // 4096, (moved, result)
    controller.delete_sample(cluster)
    controller.daemon.stop(signal.SIGTERM)
    kvrail.nothing_left(kvrail.before, 120)
