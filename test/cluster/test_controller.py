# SPDX-License-Identifier: Apache-2.0
"""`kvrail controller` on a real API server, with the rights that deploy/programs/rbac-controller.yaml gives it and no others."""
import http.client
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
import yaml

import control

TREE = pathlib.Path(__file__).resolve().parents[2]
KVRAIL = pathlib.Path(os.environ.get("KVRAIL_BUILD", TREE / "build")) / "kvrail"
NS = "kvrail-system"
SRIOV = f"/apis/sriovnetwork.openshift.io/v1/namespaces/{NS}"
RAIL = f"/apis/kvrail.io/v1alpha1/namespaces/{NS}"
POOLS = f"/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/{NS}"


def nads(ns):
    return f"/apis/k8s.cni.cncf.io/v1/namespaces/{ns}/network-attachment-definitions"


class Controller:
    """One replica."""

    def __init__(self, plane, name="c0", environment=None, config=None, arguments=()):
        self.metrics, self.webhook = control.free_ports(2)
        self.log = control.LOGS / f"{plane.name}-controller-{name}.log"
        env = {"NAMESPACE": NS, "POD_NAME": name, "STALE_NODE_STATE_CLEANUP_DELAY_MINUTES": "0", "KVRAIL_ADDRESS_GRACE_MS": "1500",
               **(environment or {})}
        self.daemon = control.Daemon("controller", [
            KVRAIL, "controller", "--kubeconfig", config or plane.service_account(NS, "kvrail-controller"),
            "--metrics-address", f"127.0.0.1:{self.metrics}", "--webhook-address", f"127.0.0.1:{self.webhook}",
            "--webhook-host", "127.0.0.1", *arguments], self.log, env)
        self.log.unlink(missing_ok=True)

    def __enter__(self):
        self.daemon.start()
        return self

    def __exit__(self, *_):
        self.daemon.stop()

    def kill(self):
        self.daemon.kill()

    @property
    def process(self):
        return self.daemon.process

    def get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=5)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def metric(self, name):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name + " ") or line.startswith(name + "{"):
                return float(line.rsplit(" ", 1)[1])
        return None

    def rss_kb(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])


def shipped(name):
    """A file of deploy/programs, for the namespace of these tests."""
    return (TREE / "deploy/programs" / name).read_text().replace("openshift-sriov-network-operator", NS)


def install(plane):
    plane.namespace(NS)
    plane.apply(shipped("rbac-controller.yaml"))


@pytest.fixture(scope="module")
def installed(request):
    with control.ControlPlane(name="controller") as plane:
        plane.install_crds()
        install(plane)
        yield plane


@pytest.fixture
def plane(installed):
    """Objects of a test are gone with it."""
    yield installed
    for path in (f"{SRIOV}/sriovnetworknodepolicies", f"{SRIOV}/sriovnetworks", f"{SRIOV}/sriovibnetworks", f"{SRIOV}/sriovnetworkpoolconfigs"):
        for o in installed.get(path)["items"]:
            at = f"{path}/{o['metadata']['name']}"
            if o["metadata"].get("finalizers"):
                installed.patch(at, {"metadata": {"finalizers": []}})
            if installed.find(at):
                installed.delete(at)
    for path in ("/api/v1/nodes", f"{SRIOV}/sriovnetworknodestates", f"{RAIL}/railnodes", f"{RAIL}/railpolicies", nads("llm"), nads("llm2"),
                 f"{POOLS}/ippools", f"{POOLS}/overlappingrangeipreservations"):
        for o in installed.get(path)["items"]:
            installed.delete(f"{path}/{o['metadata']['name']}")


@pytest.fixture
def controller(plane):
    with Controller(plane) as c:
        yield c


def node(plane, name, labels=None, ready=True):
    plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **(labels or {})}}})
    set_ready(plane, name, ready)


def set_ready(plane, name, ready):
    plane.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [
        {"type": "Ready", "status": "True" if ready else "Unknown", "reason": "Test", "message": ""}]}})


def policy(name, **spec):
    return {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy", "metadata": {"name": name, "namespace": NS},
            "spec": {"resourceName": "p0rdma", "numVfs": 4, "nodeSelector": {"rdma": "yes"}, "nicSelector": {"vendor": "15b3", "pfNames": ["p0"]},
                     "isRdma": True, **spec}}


def network(name, ns=NS, **spec):
    return {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork", "metadata": {"name": name, "namespace": ns},
            "spec": {"resourceName": "p0rdma", "ipam": '{"type": "whereabouts", "range": "10.0.132.0/24"}', **spec}}


def report(plane, name, vfs=0, sync="Succeeded", error=""):
    """What the agent writes of its ports."""
    ports = [{"name": f"p{i}", "pciAddress": f"0000:0{i}:00.0", "vendor": "15b3", "deviceID": "101d", "totalvfs": 8, "numVfs": vfs,
              "mtu": 9000, "linkType": "ETH"} for i in range(2)]
    plane.wait_for(lambda: plane.find(f"{SRIOV}/sriovnetworknodestates/{name}"), "a node state")
    plane.patch(f"{SRIOV}/sriovnetworknodestates/{name}/status", {"status": {"interfaces": ports, "syncStatus": sync, "lastSyncError": error}})


def state(plane, name):
    return plane.find(f"{SRIOV}/sriovnetworknodestates/{name}")


def ready(plane, path):
    """(status, reason, message) of the object's condition Ready."""
    o = plane.find(path)
    for c in (o or {}).get("status", {}).get("conditions", []):
        if c["type"] == "Ready":
            return c["status"], c["reason"], c["message"]
    return None, None, None


def wait_ready(plane, path, status, reason, timeout=20):
    last = []

    def there():
        last[:] = ready(plane, path)
        return last[:2] == [status, reason]
    try:
        plane.wait_for(there, path, timeout, 0.2)
    except control.ClusterError:
        raise AssertionError(f"{path} is {last}, not {status} {reason}") from None
    return last[2]


def versions(plane):
    """resourceVersion of everything that the controller may write."""
    found = {}
    for path in (f"{SRIOV}/sriovnetworknodestates", f"{SRIOV}/sriovnetworks", f"{RAIL}/railnodes", f"{RAIL}/railpolicies", nads("llm"),
                 f"/api/v1/namespaces/{NS}/secrets"):
        for o in plane.get(path)["items"]:
            found[path, o["metadata"]["name"]] = o["metadata"]["resourceVersion"]
    return found


def test_policies_become_node_states_and_their_conditions_can_be_waited_for(plane, controller):
    node(plane, "n1", {"rdma": "yes"})
    node(plane, "n2")
    plane.apply(policy("rails"))
    report(plane, "n1")
    s = plane.wait_for(lambda: (state(plane, "n1")["spec"] or {}).get("interfaces"), "the policy in the node state")
    assert [(i["name"], i["pciAddress"], i["numVfs"]) for i in s] == [("p0", "0000:00:00.0", 4)]
    assert s[0]["vfGroups"] == [{"resourceName": "p0rdma", "deviceType": "netdevice", "vfRange": "0-3", "policyName": "rails", "isRdma": True}]
    assert state(plane, "n2")["spec"] == {"bridges": {}, "system": {}}
    plane.wait_for(lambda: "p0 has 0 of 4 VFs" in (ready(plane, f"{RAIL}/railnodes/n1")[2] or ""), "what the node lacks", 20)
    report(plane, "n1", vfs=4)
    wait_ready(plane, f"{RAIL}/railnodes/n1", "True", "Configured")
    plane.kubectl("wait", "--for=condition=Ready", "--timeout=10s", "-n", NS, "railpolicy/rails", "railnode/n1")
    lines = plane.kubectl("get", "-n", NS, "railpolicies,railnodes").split("\n")
    assert lines[0].split() == ["NAME", "READY", "REASON", "NODES", "PORTS", "VFS", "AGE"] and lines[1].split()[1:6] == ["True", "Applied", "1/1", "1", "4"]
    # fields have the controller as their owner, the status the agent
    managers = {(m["manager"], m.get("subresource", "")) for m in plane.get(f"{SRIOV}/sriovnetworknodestates/n1")["metadata"]["managedFields"]}
    assert ("kvrail-controller", "") in managers
    # the pool's RDMA mode
    plane.apply({"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkPoolConfig", "metadata": {"name": "pool", "namespace": NS},
                 "spec": {"nodeSelector": {"matchLabels": {"rdma": "yes"}}, "rdmaMode": "exclusive"}})
    plane.wait_for(lambda: state(plane, "n1")["spec"]["system"] == {"rdmaMode": "exclusive"}, "the RDMA mode")
    # the policy goes, and with it what was said of it; then the node
    plane.delete(f"{SRIOV}/sriovnetworknodepolicies/rails")
    plane.wait_for(lambda: not state(plane, "n1")["spec"].get("interfaces"), "an empty spec")
    plane.wait_for(lambda: not plane.find(f"{RAIL}/railpolicies/rails"), "no RailPolicy")
    plane.delete("/api/v1/nodes/n1")
    plane.wait_for(lambda: not state(plane, "n1") and not plane.find(f"{RAIL}/railnodes/n1"), "no node state")


def test_what_matches_nothing_or_fails_is_told(plane, controller):
    node(plane, "n1", {"rdma": "yes"})
    plane.apply([policy("names", nicSelector={"vendor": "15b3", "pfNames": ["p9"]}), policy("labels", nodeSelector={"zone": "x"})])
    report(plane, "n1")
    wait_ready(plane, f"{RAIL}/railpolicies/labels", "False", "NoNodeSelected")
    plane.wait_for(lambda: "nicSelector.pfNames p9 excludes 2 ports on 1 node; there are p0, p1" in (ready(plane, f"{RAIL}/railpolicies/names")[2] or ""),
                   "which selector excludes what")
    plane.apply(policy("rails"))
    report(plane, "n1", sync="Failed", error="p0: no more than 2 VFs")
    assert "n1: p0: no more than 2 VFs" in wait_ready(plane, f"{RAIL}/railpolicies/rails", "False", "NodesFailed")
    # and to those who look at events
    plane.apply(network("broken", ipam="{"))
    def told():
        return {(e["involvedObject"]["kind"], e["involvedObject"]["name"], e["reason"], e["type"], e["source"]["component"])
                for e in plane.get(f"/api/v1/namespaces/{NS}/events")["items"]}
    for want in (("SriovNetworkNodePolicy", "labels", "NoNodeSelected"), ("SriovNetworkNodePolicy", "names", "NoPortSelected"),
                 ("SriovNetworkNodePolicy", "rails", "NodesFailed"), ("SriovNetwork", "broken", "UnsupportedConfiguration")):
        plane.wait_for(lambda: (*want, "Warning", "kvrail-controller") in told(), f"the event {want}, not {told()}")
    plane.delete(f"{SRIOV}/sriovnetworks/broken")


def test_networks_become_nads_and_take_them_along(plane, controller):
    for ns in ("llm", "llm2"):
        plane.namespace(ns)
    plane.apply([network("own", "llm"), network("away", networkNamespace="llm", trust="on"), network("nowhere", networkNamespace="not-yet")])
    wait_ready(plane, "/apis/sriovnetwork.openshift.io/v1/namespaces/llm/sriovnetworks/own", "True", "NetworkReady")
    wait_ready(plane, f"{SRIOV}/sriovnetworks/away", "True", "NetworkReady")
    wait_ready(plane, f"{SRIOV}/sriovnetworks/nowhere", "False", "NamespaceNotFound")
    own, away = (plane.get(f"{nads('llm')}/{n}") for n in ("own", "away"))
    assert own["metadata"]["annotations"]["sriovnetwork.openshift.io/owner-ref"] == "SriovNetwork.sriovnetwork.openshift.io/llm/own"
    assert own["metadata"]["ownerReferences"][0]["name"] == "own" and "ownerReferences" not in away["metadata"]
    assert json.loads(away["spec"]["config"])["trust"] == "on"
    held = plane.get(f"{SRIOV}/sriovnetworks/away")["metadata"]
    assert held["finalizers"] == ["netattdef.finalizers.sriovnetwork.openshift.io"]
    assert held["annotations"]["operator.sriovnetwork.openshift.io/last-network-namespace"] == "llm"
    # a namespace that comes later; a change; drift
    plane.namespace("not-yet")
    wait_ready(plane, f"{SRIOV}/sriovnetworks/nowhere", "True", "NetworkReady")
    plane.patch(f"{SRIOV}/sriovnetworks/away", {"spec": {"trust": "off"}})
    plane.wait_for(lambda: json.loads(plane.get(f"{nads('llm')}/away")["spec"]["config"])["trust"] == "off", "the change")
    plane.patch(f"{nads('llm')}/away", {"spec": {"config": "{}"}})
    plane.wait_for(lambda: plane.get(f"{nads('llm')}/away")["spec"]["config"] != "{}", "the repair")
    # another namespace; then away altogether
    plane.patch(f"{SRIOV}/sriovnetworks/away", {"spec": {"networkNamespace": "llm2"}})
    plane.wait_for(lambda: plane.find(f"{nads('llm2')}/away") and not plane.find(f"{nads('llm')}/away"), "the move")
    plane.delete(f"{SRIOV}/sriovnetworks/away")
    plane.wait_for(lambda: not plane.find(f"{nads('llm2')}/away") and not plane.find(f"{SRIOV}/sriovnetworks/away"), "the end")
    plane.delete("/apis/sriovnetwork.openshift.io/v1/namespaces/llm/sriovnetworks/own")


def test_foreign_nads_are_left_alone(plane, controller):
    plane.namespace("llm")
    plane.post(nads("llm"), {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "mine"},
                             "spec": {"config": '{"type": "bridge"}'}})
    plane.apply(network("mine", networkNamespace="llm"))
    assert "belongs to somebody else" in wait_ready(plane, f"{SRIOV}/sriovnetworks/mine", "False", "NetworkAttachmentDefinitionInvalid")
    assert plane.get(f"{nads('llm')}/mine")["spec"]["config"] == '{"type": "bridge"}'
    plane.delete(f"{nads('llm')}/mine")
    wait_ready(plane, f"{SRIOV}/sriovnetworks/mine", "True", "NetworkReady")


def test_steady_state_writes_nothing_and_is_small(plane, controller):
    plane.namespace("llm")
    for i in range(10):
        node(plane, f"n{i}", {"rdma": "yes"})
    plane.apply([policy("rails"), network("away", networkNamespace="llm")])
    for i in range(10):
        report(plane, f"n{i}", vfs=4)
    wait_ready(plane, f"{RAIL}/railpolicies/rails", "True", "Applied")
    wait_ready(plane, f"{SRIOV}/sriovnetworks/away", "True", "NetworkReady")
    time.sleep(2)
    before, asked = versions(plane), len(plane.audit())
    time.sleep(8)
    assert versions(plane) == before
    wrote = [e for e in plane.audit()[asked:] if e["user"]["username"].endswith("kvrail-controller") and e["verb"] in ("create", "patch", "update", "delete")
             and e["objectRef"]["resource"] != "leases"]
    assert not wrote
    print(f"resident {controller.rss_kb()} KiB, sanitizers {'on' if 'asan' in str(KVRAIL) else 'off'}")
    if "asan" not in str(KVRAIL):
        assert controller.rss_kb() < 12 * 1024
    # a restart writes nothing either
    controller.daemon.stop()
    controller.daemon.start()
    plane.wait_for(lambda: (controller.metric("kvrail_controller_passes_total") or 0) >= 1, "a pass")
    time.sleep(1)
    assert versions(plane) == before


def test_another_writer_is_reported_and_not_fought(plane, controller):
    node(plane, "n1", {"rdma": "yes"})
    plane.apply(policy("rails"))
    report(plane, "n1", vfs=4)
    wait_ready(plane, f"{RAIL}/railnodes/n1", "True", "Configured")
    for i in range(3):
        plane.patch(f"{SRIOV}/sriovnetworknodestates/n1?fieldManager=go-operator", {"spec": {"interfaces": [
            {"pciAddress": "0000:00:00.0", "numVfs": 7 - i}]}})
        time.sleep(1)
    message = wait_ready(plane, f"{RAIL}/railnodes/n1", "False", "OtherWriter")
    assert "go-operator" in message
    n = controller.metric("kvrail_controller_writes_total")
    time.sleep(3)
    assert controller.metric("kvrail_controller_writes_total") <= n + 2


def trusted(plane):
    """Do all webhooks have a CA bundle?"""
    return all(h["clientConfig"].get("caBundle") for kind in ("mutating", "validating") for h in plane.get(
        f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/kvrail")["webhooks"])


def converged(plane):
    return (ready(plane, f"{RAIL}/railpolicies/rails")[0] == "True" and ready(plane, f"{SRIOV}/sriovnetworks/away")[0] == "True"
            and state(plane, "n1")["spec"].get("interfaces") and plane.find(f"{nads('llm')}/away")
            and plane.find(f"/api/v1/namespaces/{NS}/secrets/kvrail-webhook") and trusted(plane))


def drop_lease(plane):
    """The killed leader's lease is in the way of the next one: not what is tested here."""
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{NS}/leases/kvrail-controller"
    if plane.find(lease):
        plane.delete(lease)


def test_killed_at_every_write_it_converges(plane):
    """SIGKILL before the n-th write, again and again: each start writes n-1 more."""
    plane.namespace("llm")
    node(plane, "n1", {"rdma": "yes"})
    plane.apply([policy("rails"), network("away", networkNamespace="llm")])
    webhooks(plane, 1)
    if plane.find(f"/api/v1/namespaces/{NS}/secrets/kvrail-webhook"):
        plane.delete(f"/api/v1/namespaces/{NS}/secrets/kvrail-webhook")
    kills = 0
    for turn in range(30):
        if state(plane, "n1"):
            report(plane, "n1", vfs=4)
        with Controller(plane, f"k{turn}", {"KVRAIL_CRASH_AT": "2"}) as c:
            end = time.monotonic() + 40
            while time.monotonic() < end and c.process.poll() is None and not converged(plane):
                time.sleep(0.2)
            if c.process.poll() is None:
                break
            assert c.process.returncode == -signal.SIGKILL, c.daemon.tail()
            kills += 1
        drop_lease(plane)
    assert converged(plane), kills
    assert kills >= 8
    # deletion too: killed between the NAD and the finalizer
    plane.delete(f"{SRIOV}/sriovnetworks/away")
    with Controller(plane, "k-delete", {"KVRAIL_CRASH_AT": "2"}) as c:
        plane.wait_for(lambda: c.process.poll() is not None, "the kill", 40)
    assert not plane.find(f"{nads('llm')}/away") and plane.find(f"{SRIOV}/sriovnetworks/away")
    drop_lease(plane)
    with Controller(plane, "k-end"):
        plane.wait_for(lambda: not plane.find(f"{nads('llm')}/away") and not plane.find(f"{SRIOV}/sriovnetworks/away"), "the end", 40)
    for kind in ("mutating", "validating"):
        plane.delete(f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/kvrail")


def test_the_second_replica_takes_over(plane):
    node(plane, "n1", {"rdma": "yes"})
    with Controller(plane, "a") as a:
        plane.wait_for(lambda: a.metric("kvrail_controller_leader") == 1, "a leader", 40)
        with Controller(plane, "b") as b:
            plane.wait_for(lambda: b.get("/readyz")[0] == 200, "the other replica ready")
            assert b.metric("kvrail_controller_leader") == 0
            plane.wait_for(lambda: "holds the lease: this replica stands by" in b.daemon.log.read_text(), "who leads, in the log")
            a.kill()
            plane.apply(policy("rails"))
            plane.wait_for(lambda: plane.find(f"{RAIL}/railpolicies/rails"), "the other one's work", 40)
            assert b.metric("kvrail_controller_leader") == 1


# -- addresses ---------------------------------------------------------------------------------------------------------
def pod(plane, ns, name, node_name="n1", ips=(), networks="away"):
    plane.post(f"/api/v1/namespaces/{ns}/pods", {
        "metadata": {"name": name, "annotations": {"k8s.v1.cni.cncf.io/networks": networks, **({"k8s.v1.cni.cncf.io/network-status": json.dumps(
            [{"name": f"{ns}/away", "interface": "net1", "ips": list(ips)}])} if ips else {})}},
        "spec": {"nodeName": node_name, "containers": [{"name": "main", "image": "none"}], "terminationGracePeriodSeconds": 0}})


def delete_pod(plane, ns, name):
    plane.delete(f"/api/v1/namespaces/{ns}/pods/{name}", {"gracePeriodSeconds": 0})


def pool(plane, allocations):
    plane.apply({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool", "metadata": {"name": "10.0.132.0-24", "namespace": NS},
                 "spec": {"range": "10.0.132.0/24", "allocations": {
                     k: {"id": f"c{k}", "podref": v, "ifname": "net1"} for k, v in allocations.items()}}})


def held(plane):
    return set(plane.get(f"{POOLS}/ippools/10.0.132.0-24")["spec"]["allocations"])


def test_addresses_of_pods_that_are_gone_go_back(plane):
    plane.namespace("llm")
    node(plane, "n1")
    node(plane, "n2")
    pod(plane, "llm", "alive", ips=["10.0.132.1"])
    pod(plane, "llm", "in-add")
    pod(plane, "llm", "cut-off", "n2", ips=["10.0.132.3"])
    pod(plane, "llm", "leaving", ips=["10.0.132.5"])
    pool(plane, {"1": "llm/alive", "2": "llm/in-add", "3": "llm/cut-off", "4": "llm/never-was", "5": "llm/leaving"})
    plane.apply({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
                 "metadata": {"name": "10.0.132.4", "namespace": NS}, "spec": {"podref": "llm/never-was"}})
    with Controller(plane) as controller:
        plane.wait_for(lambda: held(plane) == {"1", "2", "3", "5"}, "the unknown pod's address back", 30)
        plane.wait_for(lambda: not plane.find(f"{POOLS}/overlappingrangeipreservations/10.0.132.4"), "its reservation", 30)
        # a node that is only cut off keeps its pods' addresses, even when they are deleted from the API
        set_ready(plane, "n2", False)
        time.sleep(1)
        delete_pod(plane, "llm", "cut-off")
        delete_pod(plane, "llm", "leaving")
        plane.wait_for(lambda: held(plane) == {"1", "2", "3"}, "the deleted pod's address back", 30)
        time.sleep(4)
        assert held(plane) == {"1", "2", "3"}
        assert controller.metric("kvrail_addresses_held") == 1
        set_ready(plane, "n2", True)
        plane.wait_for(lambda: held(plane) == {"1", "2"}, "the node is back", 30)
        for name in ("alive", "in-add"):
            delete_pod(plane, "llm", name)
        plane.wait_for(lambda: held(plane) == set(), "the others'", 30)


def test_a_pool_without_a_free_address_is_told_once(plane):
    plane.namespace("llm")
    node(plane, "n1")
    pod(plane, "llm", "a", ips=["10.9.0.1"])
    plane.apply({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool", "metadata": {"name": "10.9.0.0-30", "namespace": NS},
                 "spec": {"range": "10.9.0.0/30", "allocations": {k: {"id": "c", "podref": "llm/a", "ifname": f"net{k}"} for k in ("1", "2")}}})
    with Controller(plane):
        def told():
            return [e for e in plane.get(f"/api/v1/namespaces/{NS}/events")["items"] if e["reason"] == "PoolExhausted"]
        plane.wait_for(told, "an event", 30)
        (event,) = told()
        assert event["involvedObject"]["name"] == "10.9.0.0-30" and "all 2 addresses of 10.9.0.0/30 are taken" in event["message"]
    delete_pod(plane, "llm", "a")
    plane.delete(f"{POOLS}/ippools/10.9.0.0-30")


# -- admission ---------------------------------------------------------------------------------------------------------
def webhooks(plane, port):
    """webhooks.yaml as shipped, with the address of a replica in place of the Service."""
    for doc in yaml.safe_load_all(shipped("webhooks.yaml")):
        for hook in doc["webhooks"]:
            service = hook["clientConfig"].pop("service")
            hook["clientConfig"]["url"] = f"https://127.0.0.1:{port}{service['path']}"
        plane.apply(doc)


@pytest.fixture
def admission(plane, controller):
    plane.namespace("llm")
    webhooks(plane, controller.webhook)
    plane.wait_for(lambda: trusted(plane), "the CA bundle", 30)
    plane.apply(network("away", networkNamespace="llm"))
    wait_ready(plane, f"{SRIOV}/sriovnetworks/away", "True", "NetworkReady")
    yield controller
    for kind in ("mutating", "validating"):
        plane.delete(f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/kvrail")


def create_pod(plane, ns, name, networks, dry=True, **container):
    metadata = {"name": name, **({"annotations": {"k8s.v1.cni.cncf.io/networks": networks}} if networks else {})}
    return plane.post(f"/api/v1/namespaces/{ns}/pods{'?dryRun=All' if dry else ''}", {
        "metadata": metadata, "spec": {"containers": [{"name": "proxy", "image": "none"}, {"name": "main", "image": "none", **container}]}})


def test_pods_get_the_devices_of_their_networks(plane, admission):
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1", "rdma/roce_gdr": "1"}}}
    p = create_pod(plane, "llm", "a", "away", **gpu)
    want = {"nvidia.com/gpu": "1", "rdma/roce_gdr": "1", "openshift.io/p0rdma": "1"}
    assert p["spec"]["containers"][1]["resources"] == {"limits": want, "requests": want}
    assert p["spec"]["containers"][0].get("resources", {}) == {}
    with pytest.raises(control.ApiError, match="there is no NetworkAttachmentDefinition gone in namespace llm; there are away") as e:
        create_pod(plane, "llm", "b", "away,gone", **gpu)
    assert e.value.status == 422
    # a network that is made with its pod: the watch may lag behind
    for i in range(5):
        plane.post(nads("llm"), {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {
            "name": f"quick{i}", "annotations": {"k8s.v1.cni.cncf.io/resourceName": "x.io/y"}}, "spec": {"config": "{}"}})
        assert create_pod(plane, "llm", "c", f"quick{i}")["spec"]["containers"][0]["resources"]["limits"] == {"x.io/y": "1"}
    # the pods that KServe rendered
    upstream = pathlib.Path(os.environ.get("KVRAIL_UPSTREAM", TREE.parent / "shared/upstream")) / "kserve/rendered/qwen2-7b-pd-decode-pod.json"
    if upstream.exists():
        o = json.loads(upstream.read_text())
        o["metadata"] = {"name": "kserve", "annotations": {"k8s.v1.cni.cncf.io/networks": "away"}}
        o["spec"].pop("nodeName", None)
        o.pop("status", None)
        p = plane.post("/api/v1/namespaces/llm/pods?dryRun=All", o)
        main = next(c for c in p["spec"]["containers"] if c["name"] == "main")
        assert main["resources"]["limits"]["openshift.io/p0rdma"] == "1" == main["resources"]["requests"]["openshift.io/p0rdma"]
    assert 'kvrail_admission_reviews_total{verdict="denied"} 1' in admission.get("/metrics")[1]


def test_policies_and_networks_are_admitted_as_by_the_operator(plane, admission):
    plane.post(f"{SRIOV}/sriovnetworknodepolicies", policy("plain", nicSelector={"vendor": "15b3"}))
    assert plane.get(f"{SRIOV}/sriovnetworknodepolicies/plain")["spec"]["priority"] == 99
    with pytest.raises(control.ApiError, match="'deviceType: vfio-pci' conflicts with 'isRdma: true'"):
        plane.post(f"{SRIOV}/sriovnetworknodepolicies", policy("both", deviceType="vfio-pci"))
    with pytest.raises(control.ApiError, match="can't be specified if the resource is not in the kvrail-system namespace"):
        plane.post("/apis/sriovnetwork.openshift.io/v1/namespaces/llm/sriovnetworks", network("x", "llm", networkNamespace="llm2"))


def test_a_policy_is_held_to_the_others_on_its_nodes(plane, admission):
    node(plane, "n1", {"rack": "a"})
    path = f"{SRIOV}/sriovnetworknodepolicies"
    def new(name, vfs, rack="a"):
        return policy(name, resourceName=name, numVfs=8, nodeSelector={"rack": rack}, nicSelector={"pfNames": [f"p0#{vfs}"]})
    plane.post(path, new("first", "0-3"))
    with pytest.raises(control.ApiError, match="VF index range in p0#3-7 is overlapped with existing policy first") as e:
        plane.post(path, new("second", "3-7"))
    assert e.value.status == 422
    plane.post(path, new("second", "4-7"))
    plane.post(path, new("elsewhere", "0-7", rack="b"))
    # one that changes meets itself no more than one that comes
    changed = plane.get(f"{path}/second")
    changed["spec"]["nicSelector"]["pfNames"] = ["p0#2-7"]
    with pytest.raises(control.ApiError, match="VF index range in p0#2-7 is overlapped with existing policy first"):
        plane.put(f"{path}/second", changed)
    changed["spec"]["nicSelector"]["pfNames"] = ["p0#5-7"]
    plane.put(f"{path}/second", changed)


def test_a_dead_webhook_stops_only_pods_with_networks(plane, admission):
    admission.kill()
    create_pod(plane, "llm", "a", None)
    create_pod(plane, "kube-system", "a", "away")
    # whatever holds a finalizer of a network can take it away
    plane.delete(f"{SRIOV}/sriovnetworks/away")
    plane.patch(f"{SRIOV}/sriovnetworks/away", {"metadata": {"finalizers": []}})
    assert not plane.find(f"{SRIOV}/sriovnetworks/away")
    create_pod(plane, NS, "a", "away")
    with pytest.raises(control.ApiError, match="failed calling webhook"):
        create_pod(plane, "llm", "a", "away")
    admission.daemon.start()
    plane.wait_for(lambda: admission.get("/readyz")[0] == 200, "the replica is back", 30)
    plane.apply(network("away", networkNamespace="llm"))
    # restarted, it serves with the same certificate before it leads
    plane.wait_for(lambda: create_pod(plane, "llm", "a", "away"), "admission again", 30)


def test_certificates_are_renewed_without_a_gap(plane, admission):
    path = f"/api/v1/namespaces/{NS}/secrets/kvrail-webhook"
    old = plane.get(path)["data"]
    plane.patch(path, {"data": {"ca.key": None}})  # the CA cannot sign any more: a new one is needed
    end, new = time.monotonic() + 40, None
    while time.monotonic() < end:
        create_pod(plane, "llm", "a", "away")
        new = plane.get(path)["data"]
        if new["tls.crt"] != old["tls.crt"]:
            break
        time.sleep(0.3)
    assert new["tls.crt"] != old["tls.crt"] and new["ca.crt"] != old["ca.crt"]
    for _ in range(10):
        create_pod(plane, "llm", "a", "away")
        time.sleep(0.2)


def test_ready_means_that_the_webhooks_can_be_called(boot_plane):
    """What waits for the rollout may go on at once."""
    plane = boot_plane()
    plane.install_crds()
    install(plane)
    with Controller(plane) as c:
        webhooks(plane, c.webhook)  # before it is up, as kubectl apply -k does it
        plane.wait_for(lambda: c.get("/readyz")[0] == 200, "ready", 40, 0.02)
        for i in range(5):
            plane.post(f"{SRIOV}/sriovnetworknodepolicies", policy(f"p{i}"))
            with pytest.raises(control.ApiError, match="there is no NetworkAttachmentDefinition"):
                create_pod(plane, "default", f"a{i}", "gone")


# -- rights and bad input ----------------------------------------------------------------------------------------------
def test_no_verb_is_asked_that_is_not_granted(request, plane):
    """What all tests before this one asked."""
    events = [e for e in plane.audit() if e["user"]["username"] == f"system:serviceaccount:{NS}:kvrail-controller"]
    refused = {(e["verb"], e.get("objectRef", {}).get("resource"), e["requestURI"].split("?")[0]) for e in events if e["responseStatus"]["code"] == 403}
    assert not refused
    tests = [n for n in globals() if n.startswith("test_")]
    if sum(i.module.__name__ == __name__ for i in request.session.items) < len(tests):
        pytest.skip("what is granted and not asked shows only when all tests of the file run")
    assert len(events) > 100
    # nor is one granted that is not asked
    asked = {(e["verb"], e["objectRef"].get("apiGroup", ""), e["objectRef"]["resource"] + (f"/{e['objectRef']['subresource']}" if
              e["objectRef"].get("subresource") else "")) for e in events if e.get("objectRef")}
    granted = {(v, g, r) for doc in yaml.safe_load_all(shipped("rbac-controller.yaml")) for rule in doc.get("rules", [])
               for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}
    # server-side apply of an object that is not there is a patch that needs create
    spare = {(v, g, r) for v, g, r in granted - asked if v != "create" or ("patch", g, r) not in asked}
    assert {r for _, _, r in spare} <= {"ovsnetworks", "sriovibnetworks", "ovsnetworks/status", "sriovibnetworks/status",
                                        "overlappingrangeipreservations"}, spare


def test_missing_crds_are_named_with_the_command(boot_plane):
    plane = boot_plane()
    install(plane)
    plane.kubectl("apply", "--server-side", "-f", TREE / "deploy/crds/sriovnetwork.openshift.io_sriovnetworks.yaml")
    with Controller(plane) as c:
        text = plane.wait_for(lambda: c.get("/readyz")[1] if "CRDs" in c.get("/readyz")[1] else None, "the missing CRDs", 20)
        assert "network-attachment-definitions.k8s.cni.cncf.io" in text and "kubectl apply -f deploy/crds" in text
        assert "sriovnetworks.sriovnetwork" not in text
        assert c.get("/healthz") == (200, "ok\n")
        plane.install_crds()
        plane.wait_for(lambda: c.get("/readyz")[0] == 200, "ready once they are there", 40)


def test_an_old_crd_without_conditions_is_told_once(boot_plane):
    plane = boot_plane()
    plane.install_crds()
    install(plane)
    crd = yaml.safe_load((TREE / "deploy/crds/sriovnetwork.openshift.io_sriovnetworks.yaml").read_text())
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] = {"type": "object"}
    plane.apply(crd)
    plane.namespace("llm")
    with Controller(plane) as c:
        plane.apply(network("away", networkNamespace="llm"))
        plane.wait_for(lambda: "takes no conditions" in c.log.read_text(), "the word about it", 30)
        assert plane.find(f"{nads('llm')}/away")
        plane.patch(f"{SRIOV}/sriovnetworks/away", {"spec": {"trust": "on"}})
        plane.wait_for(lambda: '"trust"' in plane.get(f"{nads('llm')}/away")["spec"]["config"], "its work goes on")
        time.sleep(2)
        assert c.log.read_text().count("takes no conditions") == 1 and c.metric("kvrail_controller_write_failures_total") == 0


def test_missing_rights_are_named(boot_plane):
    plane = boot_plane()
    plane.install_crds()
    install(plane)
    plane.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kvrail-controller")
    with Controller(plane) as c:
        plane.wait_for(lambda: "network-attachment-definitions" in c.log.read_text() or "nodes" in c.log.read_text(), "what is forbidden", 30)
        assert c.get("/readyz")[0] == 503
        plane.apply(shipped("rbac-controller.yaml"))
        plane.wait_for(lambda: c.get("/readyz")[0] == 200, "ready with the rights", 60)


def test_bad_options_are_refused():
    r = subprocess.run([KVRAIL, "controller", "--metrics-address", "nonsense", "--kubeconfig", "/nonexistent"], capture_output=True, text=True, timeout=20)
    assert r.returncode == 1 and "/nonexistent" in r.stderr
    r = subprocess.run([KVRAIL, "controller"], capture_output=True, text=True, timeout=20,
                       env={**os.environ, "STALE_NODE_STATE_CLEANUP_DELAY_MINUTES": "soon"})
    assert r.returncode == 2 and "soon" in r.stderr


def test_an_api_server_that_is_away_is_waited_for(boot_plane):
    plane = boot_plane()
    plane.install_crds()
    install(plane)
    with Controller(plane) as c:
        node(plane, "n1", {"rdma": "yes"})
        plane.apply(policy("rails"))
        report(plane, "n1", vfs=4)
        wait_ready(plane, f"{RAIL}/railpolicies/rails", "True", "Applied")
        plane.api_server.stop()
        time.sleep(25)  # longer than the lease
        assert c.process.poll() is None and c.get("/healthz")[0] == 200
        plane.api_server.start()
        plane.wait_ready()
        plane.apply(policy("rails", numVfs=6))
        plane.wait_for(lambda: state(plane, "n1")["spec"]["interfaces"][0]["numVfs"] == 6, "the change", 60)
        assert c.metric("kvrail_controller_leader") == 1
        # nor is it waited for at the end
        plane.api_server.pause()
        begin = time.monotonic()
        c.daemon.stop()
        plane.api_server.resume()
        assert c.process.returncode == 0 and time.monotonic() - begin < 12
