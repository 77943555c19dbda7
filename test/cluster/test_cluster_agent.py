# SPDX-License-Identifier: Apache-2.0
"""The agent of one node against a real API server: what it watches, writes and serves, with and without the server."""
import base64
import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import time

import pytest

import agenthost
import control

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and netdevs")

STATES = "/apis/sriovnetwork.openshift.io/v1/namespaces/kvrail-system/sriovnetworknodestates"
NADS = "/apis/k8s.cni.cncf.io/v1/namespaces/{}/network-attachment-definitions"


@pytest.fixture(scope="module")
def system(control_plane):
    control_plane.namespace("kvrail-system")
    for name in "rbac-agent.yaml", "rbac-addresses.yaml":
        text = (agenthost.TREE / "deploy/programs" / name).read_text()
        control_plane.apply(text.replace("openshift-sriov-network-operator", "kvrail-system"))
    return control_plane


@pytest.fixture
def host(tmp_path, system, request):
    """Run with exactly the shipped RBAC: what is not granted is refused, and fails the test."""
    name = f"n{abs(hash(request.node.name)) % 10**6}"
    since = len(system.audit())
    with agenthost.AgentHost(tmp_path, system, name, {"rail0": ["d0", "d1"], "rail1": ["d2", "d3"]},
                             kubeconfig=system.service_account("kvrail-system", "kvrail-agent")) as h:
        yield h.make_state()
    refused = [(e["verb"], e["objectRef"]) for e in system.audit()[since:] if e.get("responseStatus", {}).get("code") == 403
               and "being terminated" not in e["responseStatus"].get("message", "")
               and e["user"]["username"] == "system:serviceaccount:kvrail-system:kvrail-agent"]
    assert not refused


def writes(plane, node, since=0):
    """Changes that the agent of @node asked for."""
    return [e for e in plane.audit() if e["verb"] in ("create", "update", "patch", "delete") and e.get("userAgent", "").startswith("kvrail")
            and (e["objectRef"].get("name") == node or e["objectRef"]["resource"] != "sriovnetworknodestates")][since:]


def nad(plane, namespace, name, resource, network):
    plane.post(NADS.format(namespace), {
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "annotations": {"k8s.v1.cni.cncf.io/resourceName": f"openshift.io/{resource}"}},
        "spec": {"config": json.dumps({"cniVersion": "1.0.0", "name": name, "type": "sriov",
                                       "ipam": {"type": "whereabouts", "range": network}})}})


def test_a_node_reports_in_its_node_state_and_then_writes_nothing(host, system):
    host.start().wait_ready()
    state = host.sync("Succeeded")
    assert state["metadata"]["annotations"]["sriovnetwork.openshift.io/desired-state"] == "Idle"
    before = len(writes(system, host.name))
    time.sleep(3)
    assert len(writes(system, host.name)) == before
    assert host.node_state()["metadata"]["resourceVersion"] == state["metadata"]["resourceVersion"]


def test_a_node_state_that_cannot_be_done_says_why_once(host, system):
    host.start().wait_ready()
    host.sync("Succeeded")
    system.patch(f"{STATES}/{host.name}", {"spec": {"interfaces": [{"pciAddress": "0000:ff:1f.7", "name": "p2", "numVfs": 2}]}},
                 content_type="application/merge-patch+json")
    state = host.sync("Failed")
    assert "0000:ff:1f.7" in state["status"]["lastSyncError"], state["status"]
    host.wait_for(lambda: any("0000:ff:1f.7" in p for p in host.status()["problems"]), "the problem in the status")
    version = state["metadata"]["resourceVersion"]
    time.sleep(2)
    assert host.node_state()["metadata"]["resourceVersion"] == version
    system.patch(f"{STATES}/{host.name}", {"spec": {"interfaces": None}}, content_type="application/merge-patch+json")
    assert "lastSyncError" not in host.sync("Succeeded")["status"]


def test_the_runtime_is_sent_here_while_the_agent_is_ready(host):
    host.start().wait_ready()
    conf = json.loads(host.conf.read_text())
    assert conf["type"] == "kvrail" and conf["clusterNetwork"] == str(host.conf_dir / "10-bridge.conflist")
    assert host.conf.stat().st_mode & 0o777 == 0o600 and (host.bin / "kvrail").exists()
    (host.conf_dir / "10-bridge.conflist").rename(host.dir / "away")
    host.wait_for(lambda: not host.conf.exists(), "the configuration to go with the default network")
    host.wait_for(lambda: host.readyz()[0] == 500 and "no default network" in host.readyz()[1], "the reason")
    (host.dir / "away").rename(host.conf_dir / "10-bridge.conflist")
    host.wait_for(host.conf.exists, "the configuration to come back")
    host.kill(signal.SIGTERM)
    assert not host.conf.exists()


def test_a_killed_agent_leaves_the_configuration_and_an_update_may(host):
    host.start().wait_ready()
    host.kill()
    assert host.conf.exists()
    host.start("--keep-cni-conf").wait_ready()
    host.kill(signal.SIGTERM)
    assert host.conf.exists()


def test_an_agent_without_api_server_is_ready_once_it_has_a_snapshot(host, system, namespace):
    host.relay.stop()
    host.start()
    host.wait_for(lambda: host.socket.exists(), "the socket")
    host.wait_for(lambda: host.readyz()[0] == 500 and "API server" in host.readyz()[1], "the reason", 20)
    assert not host.conf.exists()
    host.relay.start()
    host.wait_ready()
    host.pod(namespace, "p", {"k8s.v1.cni.cncf.io/networks": "rail"})
    host.wait_for(lambda: host.snapshot() and '"p"' in host.snapshot(), "the pod in the snapshot")
    host.relay.stop()
    host.kill()
    host.start().wait_ready()
    assert host.status()["agent"]["ready"]


def test_status_says_since_when_the_api_server_is_away(host):
    host.start().wait_ready()
    host.relay.stop()
    text = host.wait_for(lambda: [p for p in host.status()["problems"] if "no word from the API server" in p], "the problem", 30)[0]
    assert "pods that are known here are attached" in text
    host.relay.start()
    host.wait_for(lambda: not host.status()["problems"], "the end of it", 60)


def test_metrics_tell_of_requests_and_pools(host):
    host.start().wait_ready()
    host.wait_for(lambda: host.status()["pools"], "pools")
    status, text = host.http("GET", "/metrics")
    assert status == 200
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["kvrail_agent_ready"] == "1" and values['kvrail_resource_devices{resource="openshift.io/rail0"}'] == "2"
    assert float(values['kvrail_api_requests_total{verb="list",outcome="ok"}']) >= 3
    assert float(values["process_resident_memory_bytes"]) > 0
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    documented = (agenthost.TREE / "docs/metrics.md").read_text()
    assert not [f for f in families if f"`{f}`" not in documented and not f.startswith("process_")]


def test_changes_are_for_the_api_server(host):
    host.start().wait_ready()
    status, text = host.http("GET", "/kvrail/objects/SriovNetwork")
    assert status == 409 and "API server" in text


DAEMONSETS = "/apis/apps/v1/namespaces/kvrail-system/daemonsets"


@pytest.fixture
def daemonset(system):
    """The DaemonSet that would run the agent: no node of it is real, so that nothing else comes of it."""
    labels = {"app": "kvrail-agent"}
    system.post(DAEMONSETS, {"metadata": {"name": "kvrail-agent"}, "spec": {"selector": {"matchLabels": labels}, "template": {
        "metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "localhost/kvrail"}]}}}})
    yield
    if system.find(f"{DAEMONSETS}/kvrail-agent"):
        system.delete(f"{DAEMONSETS}/kvrail-agent")


def test_a_restart_keeps_what_is_on_the_node_and_the_end_of_the_daemonset_takes_it_away(host, system, daemonset):
    """Between two agents pods wait, rather than start without their networks; without a DaemonSet to come, they must not wait for ever."""
    host.start(env={"DAEMONSET": "kvrail-agent"}).wait_ready()
    assert host.conf.exists() and (host.bin / "kvrail").exists()
    host.stop()
    assert host.conf.exists() and (host.bin / "kvrail").exists() and any(host.state.iterdir())
    host.start(env={"DAEMONSET": "kvrail-agent"}).wait_ready()
    system.delete(f"{DAEMONSETS}/kvrail-agent")
    host.stop()
    assert not host.conf.exists() and not (host.bin / "kvrail").exists() and not host.state.exists()
    assert (host.conf_dir / "10-bridge.conflist").exists() and (host.bin / "fake-default").exists()


def test_an_api_server_that_is_away_is_no_reason_to_leave_the_node(host, system, daemonset):
    host.start(env={"DAEMONSET": "kvrail-agent"}).wait_ready()
    host.relay.stop()
    host.stop()
    assert host.conf.exists() and (host.bin / "kvrail").exists()


def rails(system, namespace):
    nad(system, namespace, "a", "rail0", "10.77.0.0/24")
    nad(system, namespace, "b", "rail1", "10.78.0.0/24")


def held(system, namespace):
    """Who of the namespace has an address on network a."""
    pool = system.find("/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.77.0.0-24")
    return [a["podref"] for a in (pool or {"spec": {"allocations": {}}})["spec"]["allocations"].values() if a["podref"].startswith(f"{namespace}/")]


DEVICES = {"c": {"openshift.io/rail0": ["d1"], "openshift.io/rail1": ["d3"]}}
NETWORKS = {"k8s.v1.cni.cncf.io/networks": "a, b@ib0"}


def test_a_pod_gets_its_default_network_and_its_rails(host, system, namespace):
    rails(system, namespace)
    host.start().wait_ready()
    host.pod(namespace, "p", NETWORKS, DEVICES)
    result = host.add(namespace, "p")
    assert [ip["address"] for ip in result["ips"]] == ["10.88.0.9/16"]  # the result is the default network's
    links = host.links("p")
    assert {"net1", "ib0"} <= set(links) and {"d0", "d2"} <= host.host_links() and not {"d1", "d3"} & host.host_links()
    address = links["net1"]["addr_info"][0]["local"]
    assert address.startswith("10.77.0.")
    status = json.loads(system.get(f"/api/v1/namespaces/{namespace}/pods/p")["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    assert [(s["name"], s["interface"], s.get("ips")) for s in status] == [
        ("fake", "eth0", ["10.88.0.9"]), (f"{namespace}/a", "net1", [address]),
        (f"{namespace}/b", "ib0", [links["ib0"]["addr_info"][0]["local"]])]
    specs = list((host.dir / "cdi").glob("kvrail-*.json"))
    assert len(specs) == 1 and {d["name"] for d in json.loads(specs[0].read_text())["devices"]} == {"d1", "d3"}
    assert held(system, namespace) == [f"{namespace}/p"]
    text = host.http("GET", "/metrics")[1]
    assert 'kvrail_cni_stage_seconds_count{verb="ADD",stage="total"} 1' in text, text
    assert f'kvrail_rail_bytes_total{{namespace="{namespace}",pod="p",network="{namespace}/a",ifname="net1",by="tcp",direction="out"}}' in text
    host.delete(namespace, "p")
    assert {"d0", "d1", "d2", "d3"} <= host.host_links()
    assert [c.split()[0] for c in host.default_calls()] == ["ADD", "DEL"]
    assert not held(system, namespace) and not os.listdir(host.state / "attach") and not os.listdir(host.dir / "cdi")


def test_a_del_that_comes_again_asks_nobody(host, system, namespace):
    """kubelet has each sandbox torn down twice or more. What an agent has undone itself is not undone again; another agent cannot know."""
    rails(system, namespace)
    host.start().wait_ready()
    host.pod(namespace, "p", NETWORKS, DEVICES)
    host.add(namespace, "p")
    host.delete(namespace, "p")
    since = len(system.audit())
    host.delete(namespace, "p")
    assert [c.split()[0] for c in host.default_calls()] == ["ADD", "DEL"]
    assert not [e for e in system.audit()[since:] if e["objectRef"]["resource"] == "ippools" and e.get("userAgent", "").startswith("kvrail")]
    host.add(namespace, "p")  # the same sandbox once more: it is known again, and undone
    assert {"net1", "ib0"} <= set(host.links("p"))
    host.delete(namespace, "p")
    assert {"d0", "d1", "d2", "d3"} <= host.host_links() and not held(system, namespace)
    host.kill()
    host.start().wait_ready()
    host.delete(namespace, "p")
    assert [c.split()[0] for c in host.default_calls()] == ["ADD", "DEL", "ADD", "DEL", "DEL"]


def test_a_runtime_that_dies_with_its_plugin_holds_up_no_other_request(host, system, namespace):
    """The plugin might have taken two minutes; that its shim is dead is known at once."""
    rails(system, namespace)
    host.start().wait_ready()
    host.pod(namespace, "p", NETWORKS, DEVICES)
    script, hang = host.bin / "fake-default", host.dir / "hang"
    works = script.read_text()
    script.write_text(f"#!/bin/sh\n[ $CNI_COMMAND = ADD ] && touch {hang} && exec sleep 100\nexit 0\n")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        dead = pool.submit(host.cni, "ADD", namespace, "p")
        host.wait_for(hang.exists, "the plugin to hang")
        script.write_text(works)
        agenthost.must("pkill", "-KILL", "-xf", host.bin / "kvrail")  # the shim
        assert dead.result().returncode == -signal.SIGKILL
    host.wait_for(lambda: not os.listdir(host.state / "attach"), "the end of what the dead runtime asked for", 20)
    assert {"d0", "d1", "d2", "d3"} <= host.host_links() and not held(system, namespace)
    host.add(namespace, "p", container="again")
    host.delete(namespace, "p", container="again")


def test_a_pod_that_is_another_by_now_is_refused_and_gets_no_made_up_result(host, system, namespace):
    rails(system, namespace)
    host.start().wait_ready()
    host.pod(namespace, "p", NETWORKS, DEVICES)
    error = host.refused(namespace, "p", uid="11111111-2222-3333-4444-555555555555")
    assert "another one by now" in error["msg"] + error.get("details", "")
    system.delete(f"/api/v1/namespaces/{namespace}/pods/p?gracePeriodSeconds=0")
    host.wait_for(lambda: not system.find(f"/api/v1/namespaces/{namespace}/pods/p"), "the pod to go")
    error = host.refused(namespace, "p", uid="11111111-2222-3333-4444-555555555555")
    assert "not there any more" in error["msg"] + error.get("details", "")
    assert not host.default_calls() and set(host.links("p")) == {"lo"}


def test_a_peer_of_another_node_is_looked_up_and_what_to_run_there_is_told(host, system, namespace, daemonset):
    host.default_network()
    host.start(env={"DAEMONSET": "kvrail-agent"}).wait_ready()
    nad(system, namespace, "a", "rail0", "10.61.0.0/24")
    host.pod(namespace, "p", {"k8s.v1.cni.cncf.io/networks": "a"}, {"c": {"openshift.io/rail0": ["d0"]}})
    host.add(namespace, "p")
    system.post(f"/api/v1/namespaces/{namespace}/pods", {
        "apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "elsewhere", "containers": [{"name": "c", "image": "i"}]},
        "metadata": {"name": "q", "annotations": {"k8s.v1.cni.cncf.io/network-status": json.dumps(
            [{"name": "fake", "default": True, "ips": ["10.88.0.2"]}, {"name": f"{namespace}/a", "interface": "net1", "ips": ["10.61.0.9"]}])}}})
    said = host.kvrail("verify", f"{namespace}/p", "q", "--timeout=1").stderr
    assert f"waiting for {namespace}/q on 10.61.0.9; on node elsewhere run:\n\tkvrail verify {namespace}/q --listen\n" in said
    assert ("kubectl -n kvrail-system exec $(kubectl -n kvrail-system get pod -o name -l app.kubernetes.io/name=kvrail,"
            "app.kubernetes.io/component=agent --field-selector=spec.nodeName=elsewhere) -- kvrail verify "
            f"{namespace}/q --listen\n") in said
    host.delete(namespace, "p")


def test_what_is_wrong_with_a_pod_is_in_its_events_and_in_the_status_till_it_is_good(host, system, namespace):
    host.start().wait_ready()
    host.pod(namespace, "p", NETWORKS, DEVICES)
    error = host.refused(namespace, "p")
    words = f"there is no network {namespace}/a"
    assert words in error["msg"] + error.get("details", "")
    host.wait_for(lambda: [p for p in host.status()["problems"] if f"pod {namespace}/p" in p and words in p], "the problem")
    host.wait_for(lambda: [e for e in system.get(f"/api/v1/namespaces/{namespace}/events")["items"]
                           if e["involvedObject"]["name"] == "p" and words in e["message"] and e["type"] == "Warning"], "the event")
    rails(system, namespace)
    host.add(namespace, "p")
    assert not host.status()["problems"]


def test_pods_that_are_known_start_without_the_api_server_and_every_pod_ends(host, system, namespace):
    """Addresses come from the server: a network without them is attached, one with them says what it waits for."""
    rails(system, namespace)
    system.post(NADS.format(namespace), {
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "bare", "annotations": {"k8s.v1.cni.cncf.io/resourceName": "openshift.io/rail0"}},
        "spec": {"config": json.dumps({"cniVersion": "1.0.0", "name": "bare", "type": "sriov"})}})
    host.start().wait_ready()
    host.pod(namespace, "old", NETWORKS, DEVICES)
    host.add(namespace, "old")
    uid = host.pod(namespace, "new", {"k8s.v1.cni.cncf.io/networks": "bare"}, {"c": {"openshift.io/rail0": ["d0"]}})["metadata"]["uid"]
    host.wait_for(lambda: host.snapshot() and '"new"' in host.snapshot(), "the pod in the snapshot")
    host.relay.stop()
    host.kill()
    host.start().wait_ready()
    host.add(namespace, "new", uid=uid)
    assert "net1" in host.links("new")
    host.delete(namespace, "new", uid=uid)
    assert "d0" in host.host_links()
    host.cni("DEL", namespace, "old")
    assert {"d0", "d1", "d2", "d3"} <= host.host_links()
    host.relay.start()
    host.wait_for(lambda: not held(system, namespace) and not os.listdir(host.state / "attach"), "the address to come back", 60)
    host.wait_for(lambda: "k8s.v1.cni.cncf.io/network-status" in system.get(f"/api/v1/namespaces/{namespace}/pods/new")["metadata"]["annotations"],
                  "the network-status that could not be written then", 60)


# what plain interfaces have: no RDMA device, no port; "#1": of the second rail
ADD_STEPS = ["add-journal", "add-delegate", "add-allocate", "add-move", "add-move#1", "add-link#1", "add-addresses", "add-read-back#1", "add-cdi",
             "add-status", "add-ready"]
DEL_STEPS = ["del-journal", "del-cdi", "del-delegate", "del-move#1", "del-move", "del-link", "del-release", "del-forget"]


def nothing_is_left(host, system, namespace):
    assert {"d0", "d1", "d2", "d3"} <= host.host_links()
    assert not os.listdir(host.state / "attach") and not os.listdir(host.state / "spool") and not held(system, namespace)
    assert not [f for f in os.listdir(host.dir / "cdi") if f.startswith("kvrail-")]


def dies(host, command, namespace):
    """The agent kills itself in the request; what the runtime sees is an error, or for a DEL that it is kept."""
    r = host.cni(command, namespace, "p", env={"KVRAIL_WAIT_MS": "100"})
    host.process.wait(20)
    assert host.process.returncode == -signal.SIGKILL, host.log.read_text()[-3000:]
    assert (r.returncode == 0) == (command == "DEL"), r.stdout


def test_an_agent_killed_at_any_step_of_a_pods_network_leaves_nothing_and_gives_nothing_twice(host, system, namespace):
    """What the kubelet does is done: after a failed ADD a DEL, then an ADD in a new sandbox."""
    rails(system, namespace)
    (host.dir / "cdi").mkdir()
    host.start().wait_ready()
    host.pod(namespace, "p", NETWORKS, DEVICES)
    for step in ADD_STEPS:
        host.kill(signal.SIGTERM)
        host.start("--keep-cni-conf", env={"KVRAIL_CRASH_AT": step}).wait_ready()
        dies(host, "ADD", namespace)
        host.start("--keep-cni-conf").wait_ready()
        host.delete(namespace, "p")
        nothing_is_left(host, system, namespace)
        host.add(namespace, "p", container="again")
        host.delete(namespace, "p", container="again")
        nothing_is_left(host, system, namespace)
    for step in DEL_STEPS:
        host.add(namespace, "p")
        host.kill(signal.SIGTERM)
        host.start("--keep-cni-conf", env={"KVRAIL_CRASH_AT": step}).wait_ready()
        dies(host, "DEL", namespace)
        host.start("--keep-cni-conf").wait_ready()
        host.wait_for(lambda: not os.listdir(host.state / "spool") and not os.listdir(host.state / "attach"), f"the end of what {step} cut short")
        nothing_is_left(host, system, namespace)


def test_an_agent_in_a_pod_leaves_the_default_network_of_an_end_that_was_cut_short_to_the_next_request(host, system, namespace):
    rails(system, namespace)
    (host.dir / "cdi").mkdir()
    in_pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    host.start("--keep-cni-conf", env={**in_pod, "KVRAIL_CRASH_AT": "del-move"}).wait_ready()
    host.pod(namespace, "p", NETWORKS, DEVICES)
    host.add(namespace, "p")
    dies(host, "DEL", namespace)
    host.start("--keep-cni-conf", env=in_pod).wait_ready()
    host.wait_for(lambda: not os.listdir(host.state / "spool") and not held(system, namespace), "the rails to be back")
    assert {"d0", "d1", "d2", "d3"} <= host.host_links()
    waiting, = os.listdir(host.state / "attach")
    host.add(namespace, "p", container="again")
    assert waiting not in os.listdir(host.state / "attach") and len(os.listdir(host.state / "attach")) == 1
    host.delete(namespace, "p", container="again")
    nothing_is_left(host, system, namespace)


def test_missing_crds_are_named_with_the_command_that_installs_them(tmp_path, boot_plane):
    plane = boot_plane()
    plane.namespace("kvrail-system")
    with agenthost.AgentHost(tmp_path, plane, "nocrd", {}) as host:
        host.start()
        host.wait_for(lambda: host.socket.exists(), "the socket")
        text = host.wait_for(lambda: (r := host.readyz()[1]) and "CRD is missing" in r and r, "the reason")
        assert "sriovnetworknodestates" in text and "kubectl apply -k deploy/" in text
        assert any("CRD is missing" in p for p in host.status()["problems"])
        plane.install_crds()
        host.wait_ready()


@pytest.mark.parametrize("what, words", [("token", "token is not accepted"), ("authority", "another cluster"), ("server", "does not answer")])
def test_a_kubeconfig_that_does_not_fit_is_named_with_its_context(host, tmp_path, what, words):
    config = json.loads(pathlib.Path(host.kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    if what == "token":
        config["users"][0]["user"]["token"] = "expired"
    elif what == "authority":
        other = control.Authority(tmp_path / "other")
        cluster["certificate-authority-data"] = base64.b64encode(other.certificate.read_bytes()).decode()
    else:
        cluster["server"] = "https://127.0.0.1:1"
    host.kubeconfig = tmp_path / "bad.kubeconfig"
    host.kubeconfig.write_text(json.dumps(config))
    host.start()
    host.wait_for(lambda: host.socket.exists(), "the socket")
    text = host.wait_for(lambda: (r := host.readyz()[1]) and words in r and r, "the reason")
    assert "bad.kubeconfig" in text and "context test" in text, text


def test_a_kubeconfig_that_is_not_there_ends_the_agent_with_its_name(host, tmp_path):
    host.kubeconfig = tmp_path / "nowhere"
    host.start()
    assert host.process.wait(20) == 1 and "nowhere" in host.log.read_text().splitlines()[-1]


def add_as_the_kubelet(host, namespace, name, tries=5):
    """A sandbox whose ADD failed is taken down, and another one made. Gives how many failed."""
    for n in range(tries):
        if host.cni("ADD", namespace, name, container=f"{name}-{n}").returncode == 0:
            return n
        host.delete(namespace, name, container=f"{name}-{n}")
    raise AssertionError(f"{name} has no network after {tries} tries\n" + host.log.read_text()[-3000:])


def test_many_pods_at_once_while_it_is_scraped_and_the_api_server_stutters(tmp_path, system, namespace):
    count = 12
    devices = {"rail0": [f"a{i}" for i in range(count)], "rail1": [f"b{i}" for i in range(count)]}
    rails(system, namespace)
    with agenthost.AgentHost(tmp_path, system, "busy", devices, kubeconfig=system.service_account("kvrail-system", "kvrail-agent")) as host:
        host.start().wait_ready()
        for i in range(count):
            host.pod(namespace, f"p{i}", {"k8s.v1.cni.cncf.io/networks": "a,b"},
                     {"c": {"openshift.io/rail0": [f"a{i}"], "openshift.io/rail1": [f"b{i}"]}})
        with concurrent.futures.ThreadPoolExecutor(count + 1) as pool:
            adds = [pool.submit(add_as_the_kubelet, host, namespace, f"p{i}") for i in range(count)]
            scrape = pool.submit(lambda: [(host.http("GET", "/metrics"), host.status()) for _ in range(10)])
            time.sleep(0.3)
            host.relay.stop()
            host.relay.start()
            failed = [a.result() for a in adds]
            scrape.result()
            assert sorted(held(system, namespace)) == sorted(f"{namespace}/p{i}" for i in range(count))
            addresses = [host.links(f"p{i}")["net1"]["addr_info"][0]["local"] for i in range(count)]
            assert len(set(addresses)) == count
            for d in [pool.submit(host.delete, namespace, f"p{i}", container=f"p{i}-{n}") for i, n in enumerate(failed)]:
                d.result()
        host.wait_for(lambda: not held(system, namespace) and not os.listdir(host.state / "attach"), "all of it to go", 60)
        assert set(devices["rail0"] + devices["rail1"]) <= host.host_links()


def test_multus_own_socket_leads_to_the_agent_unless_its_daemon_lives(host):
    multus = host.dir / "multus-run/multus.sock"
    host.start(f"--multus-socket={multus}").wait_ready()
    with socket.socket(socket.AF_UNIX) as s:  # as Go's shim does: a POST with body null
        s.connect(str(multus))
        s.sendall(b"POST /readyz HTTP/1.1\r\nHost: dummy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnull")
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
    host.stop()
    assert not multus.is_symlink()
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(multus))
        daemon.listen()
        host.start(f"--multus-socket={multus}")
        assert host.process.wait(30) == 1 and "Multus' daemon answers" in host.log.read_text().splitlines()[-1]
    host.start(f"--multus-socket={multus}").wait_ready()  # it is dead now
    assert multus.is_symlink()
