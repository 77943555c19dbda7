# SPDX-License-Identifier: Apache-2.0
"""What kvrail, installed from deploy/, asked of the API server in all tests on the shared cluster: nothing that its roles do not grant; and what they
grant was asked, or is listed here with the case that asks it. Reads the audit log of the whole session, so it runs last."""
import pytest
import yaml

from control import TREE
from kvrail import SYSTEM

ROLES = TREE / "deploy/programs"
ACCOUNTS = "kvrail-agent", "kvrail-controller"
TESTS = {"test_kserve", "test_restarts", "test_uninstall"}

# What these tests may or may not make it ask, depending on how things fall, with the case in which it does. Each is asked in some other test, or is
# told by its comment in the role.
ADDRESSES, NETWORKS, STATES = "whereabouts.cni.cncf.io", "k8s.cni.cncf.io", "sriovnetwork.openshift.io"
RESERVATIONS = {(verb, ADDRESSES, "overlappingrangeipreservations"): "a Go Whereabouts writes there too, or ranges overlap" for verb in ("get", "create", "delete")}
RARE = {
    "kvrail-agent": {
        **RESERVATIONS,
        ("get", "", "pods"): "a pod is younger than the last event of the watch",
        ("get", NETWORKS, "network-attachment-definitions"): "a network is younger than the last event of the watch",
        ("get", ADDRESSES, "nodeslicepools"): "a network sets node_slice_size",
        ("patch", "", "events"): "what an event tells happens again",
        ("get", "apps", "daemonsets"): "an agent is ended, and not killed",
    },
    "kvrail-controller": {
        **{k: v for k, v in RESERVATIONS.items() if k[0] != "get"},
        ("get", NETWORKS, "network-attachment-definitions"): "a pod comes together with its network",
        ("patch", ADDRESSES, "ippools"): "a pod went without a DEL",
        ("delete", STATES, "sriovnetworknodestates"): "a node is gone for long, or not selected any more",
        ("delete", "kvrail.io", "railnodes"): "a node is gone, or not selected any more",
        ("delete", "kvrail.io", "railpolicies"): "a policy is gone",
        ("delete", NETWORKS, "network-attachment-definitions"): "a network is gone",
        ("patch", "", "events"): "what an event tells happens again",
        ("patch", "", "secrets"): "the webhooks' certificates are renewed",
        **{("patch", STATES, kind + part): "there are such networks" for kind in ("sriovibnetworks", "ovsnetworks") for part in ("", "/status")},
    },
}


def words(e):
    """(verb, API group, resource[/subresource]) of an audit event."""
    o = e["objectRef"]
    return e["verb"], o.get("apiGroup", ""), o["resource"] + (f"/{o['subresource']}" if o.get("subresource") else "")


def rules(account):
    """The rules of all roles that deploy/ binds to it."""
    documents = [d for f in sorted(ROLES.glob("rbac-*.yaml")) for d in yaml.safe_load_all(f.read_text())]
    roles = {(d["roleRef"]["kind"], d["roleRef"]["name"], d["metadata"].get("namespace")) for d in documents if d["kind"].endswith("RoleBinding")
             and any(s["name"] == account for s in d["subjects"])}
    return [rule for d in documents if (d["kind"], d["metadata"]["name"], d["metadata"].get("namespace")) in roles for rule in d["rules"]]


def granted(account):
    return {(v, g, r) for rule in rules(account) for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}


def uninstalled(events):
    """When the first account or binding was deleted; what comes later is asked without rights."""
    return min((e["requestReceivedTimestamp"] for e in events if e["verb"] == "delete"
                and e.get("objectRef", {}).get("resource", "").endswith(("serviceaccounts", "rolebindings"))
                and e["objectRef"].get("name", "").startswith("kvrail")), default="9999")


@pytest.fixture(scope="module")
def events(cluster, kvrail):
    events = [e for e in cluster.plane.audit() if "responseStatus" in e]
    end = uninstalled(events)
    return [e for e in events if e["requestReceivedTimestamp"] < end and e.get("objectRef")]


def asked_by(events, account):
    return [e for e in events if e["user"]["username"] == f"system:serviceaccount:{SYSTEM}:{account}"]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_nothing_was_asked_that_is_not_granted(events, account):
    mine = asked_by(events, account)
    assert mine, {e["user"]["username"] for e in events}
    by_name = {r for rule in rules(account) if "resourceNames" in rule for r in rule["resources"]}

    def right(e):
        return *words(e), e["objectRef"].get("namespace"), e["objectRef"].get("name") if e["objectRef"]["resource"] in by_name else None

    # a namespace that is going away takes nothing new from anybody
    refused = {right(e) for e in mine if e["responseStatus"].get("code") == 403 and "being terminated" not in e["responseStatus"].get("message", "")}
    # an API server that starts refuses for a moment what it grants: it has not read the roles yet
    assert refused <= {right(e) for e in mine if e["responseStatus"].get("code", 500) < 300}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_what_is_granted_was_asked_or_has_a_reason(request, events, account):
    if not TESTS <= {i.module.__name__ for i in request.session.items}:
        pytest.skip("what is granted and not asked shows only when all tests of the cluster run")
    mine = asked_by(events, account)
    asked = {words(e) for e in mine}
    # server-side apply of what is not there yet is a patch that needs create
    asked |= {("create", g, r) for (_, g, r), code in ((words(e), e["responseStatus"].get("code")) for e in mine if e["verb"] == "patch") if code == 201}
    assert granted(account) - asked <= set(RARE[account])


def test_no_reason_is_given_for_what_is_not_granted():
    for account in ACCOUNTS:
        assert set(RARE[account]) <= granted(account)
