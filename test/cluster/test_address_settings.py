# SPDX-License-Identifier: Apache-2.0
"""The agent's settings for Whereabouts' pools, with the RBAC that is shipped for them: --whereabouts-lease and --reservations."""
import concurrent.futures
import datetime
import json
import os
import time

import pytest

import agenthost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and netdevs")

SYSTEM = "kvrail-system"
WHEREABOUTS = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/{}/"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
AGENT = f"system:serviceaccount:{SYSTEM}:kvrail-agent"


@pytest.fixture
def host(tmp_path, control_plane, namespace, request):
    """An agent whose pools are in the test's own namespace: a Lease there is nobody else's."""
    control_plane.wait_for(lambda: entries(control_plane, namespace) == reservations(control_plane, namespace) == [], "the CRDs to be served")
    control_plane.namespace(SYSTEM)
    for path in "programs/rbac-agent.yaml", "programs/rbac-addresses.yaml", "components/whereabouts-lease/rbac.yaml":
        text = (agenthost.TREE / "deploy" / path).read_text()
        control_plane.apply(text.replace("openshift-sriov-network-operator", SYSTEM).replace("namespace: kube-system", f"namespace: {namespace}"))
    since = len(control_plane.audit())
    with agenthost.AgentHost(tmp_path, control_plane, f"a{os.getpid()}", {"rail0": ["d0", "d1"]},
                             kubeconfig=control_plane.service_account(SYSTEM, "kvrail-agent")) as h:
        yield h
    assert not [e["objectRef"] for e in control_plane.audit()[since:] if e.get("responseStatus", {}).get("code") == 403
                and e["user"]["username"] == AGENT and "being terminated" not in e["responseStatus"].get("message", "")]


def start(host, plane, namespace, *options):
    host.default_network()
    host.start(*options, env={"WHEREABOUTS_NAMESPACE": namespace}).wait_ready()
    plane.post(f"/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions", {
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "a", "annotations": {"k8s.v1.cni.cncf.io/resourceName": "openshift.io/rail0"}},
        "spec": {"config": json.dumps({"cniVersion": "1.0.0", "name": "a", "type": "sriov",
                                       "ipam": {"type": "whereabouts", "range": "10.77.0.0/24"}})}})


def pod(host, namespace, name, device):
    host.pod(namespace, name, {"k8s.v1.cni.cncf.io/networks": "a"}, {"c": {"openshift.io/rail0": [device]}})


def entries(plane, namespace):
    return [e["podref"] for p in plane.get(WHEREABOUTS.format(namespace) + "ippools")["items"] for e in p["spec"]["allocations"].values()]


def reservations(plane, namespace):
    return [r["spec"]["podref"] for r in plane.get(WHEREABOUTS.format(namespace) + "overlappingrangeipreservations")["items"]]


def renewed():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def sections(plane, namespace, since):
    """What the agent wrote, in order: acquire and release of the Lease, and pools."""
    out = []
    for e in plane.audit()[since:]:
        ref = e.get("objectRef", {})
        if e["user"]["username"] != AGENT or ref.get("namespace") != namespace or e["responseStatus"]["code"] >= 300:
            continue
        if ref["resource"] == "leases" and e["verb"] in ("create", "update"):
            out.append("lease")
        elif ref["resource"] == "ippools" and e["verb"] in ("create", "patch"):
            out.append("pool")
    return out


def test_an_agent_that_is_told_so_writes_addresses_under_whereabouts_lease(host, control_plane, namespace):
    start(host, control_plane, namespace, "--whereabouts-lease")
    pod(host, namespace, "p", "d0")
    path = LEASES.format(namespace)
    lease = control_plane.post(path, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "whereabouts"}, "spec": {
        "holderIdentity": "go-node", "leaseDurationSeconds": 1, "leaseTransitions": 7, "acquireTime": renewed(), "renewTime": renewed()}})
    since = len(control_plane.audit())
    with concurrent.futures.ThreadPoolExecutor() as pool:
        adding = pool.submit(host.add, namespace, "p")
        # a Go writer that holds it and renews it: nothing is given meanwhile
        end = time.monotonic() + 4
        while time.monotonic() < end:
            lease["spec"]["renewTime"] = renewed()
            lease = control_plane.put(f"{path}/whereabouts", lease)
            assert not adding.done() and entries(control_plane, namespace) == []
            time.sleep(0.3)
        lease["spec"]["holderIdentity"] = ""
        control_plane.put(f"{path}/whereabouts", lease)
        adding.result(20)
    assert entries(control_plane, namespace) == [f"{namespace}/p"]
    host.delete(namespace, "p")
    assert entries(control_plane, namespace) == [] and reservations(control_plane, namespace) == []
    after = control_plane.get(f"{path}/whereabouts")["spec"]
    assert not after.get("holderIdentity") and after["leaseTransitions"] == 9  # once for ADD, once for DEL; both gave it back
    wrote = sections(control_plane, namespace, since)
    # every write of a pool lies between taking the Lease and giving it back
    assert wrote[0] == wrote[-1] == "lease" and "pool" in wrote, wrote


def test_an_agent_does_without_the_lease_and_reserves_where_needed(host, control_plane, namespace):
    start(host, control_plane, namespace)
    pod(host, namespace, "p", "d0")
    host.add(namespace, "p")
    assert entries(control_plane, namespace) == [f"{namespace}/p"] and reservations(control_plane, namespace) == []
    assert control_plane.find(LEASES.format(namespace) + "/whereabouts") is None
    host.delete(namespace, "p")


def test_an_agent_that_is_told_so_reserves_each_address(host, control_plane, namespace):
    start(host, control_plane, namespace, "--reservations=always")
    pod(host, namespace, "p", "d0")
    host.add(namespace, "p")
    assert reservations(control_plane, namespace) == entries(control_plane, namespace) == [f"{namespace}/p"]
    host.delete(namespace, "p")
    assert reservations(control_plane, namespace) == entries(control_plane, namespace) == []
