# SPDX-License-Identifier: Apache-2.0
"""A proxy that breaks things before a real API server: what kvrail's client keeps and writes converges all the same."""
import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from faults import Fault, FaultServer, Upstream, kubeconfig  # noqa: E402
import agenthost  # noqa: E402
import ipam  # noqa: E402
from kubedriver import DRIVER, Held, environment, run  # noqa: E402

pytestmark = pytest.mark.skipif(not os.access(DRIVER, os.X_OK), reason=f"{DRIVER} is not built: run 'make asan'")

ALL = [dict(status=409), dict(status=429, headers={"Retry-After": "1"}), dict(status=429), dict(status=500), dict(status=503),
       dict(status=504), dict(close=True), dict(lose=True), dict(cut=0), dict(cut=60), dict(slow=0.3), dict(hang=0.5)]


@pytest.fixture
def proxy(control_plane):
    with FaultServer(Upstream(control_plane.url, control_plane.authority.certificate)) as p:
        yield p


@pytest.fixture
def config(control_plane, proxy, tmp_path):
    return kubeconfig(tmp_path, proxy.url, user={"token": control_plane.tokens["admin"]})


def configmap(plane, namespace, name):
    return plane.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")


def test_two_writers_lose_nothing_and_an_informer_sees_it_all(control_plane, namespace, proxy, config):
    control_plane.post(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "shared"}})
    ref = f"/v1/configmaps/{namespace}/shared"
    with Held(config, "watch", f"/v1/configmaps/{namespace}") as w:
        w.until("SYNCED")
        proxy.fault_at_random(0.3, 1, ALL)
        for watch_fault in (dict(lines=2), dict(cut=100), dict(lines=5), dict(send=[
                '{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}'])):
            proxy.fault(Fault(times=2, **watch_fault), path="watch=1")
        writers = [subprocess.Popen([DRIVER, "fill", ref, name, "40"], env=environment(config), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    text=True) for name in ("one", "two")]
        for process in writers:
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, out + err
        proxy.share = 0
        wanted = {f"{name}-{i}": "1" for name in ("one", "two") for i in range(1, 41)}
        assert configmap(control_plane, namespace, "shared")["data"] == wanted
        control_plane.wait_for(lambda: w.all().get(f"{namespace}/shared") == wanted, "the informer to see it all", timeout=30)
    faults = len([r for r in proxy.requests if r.status not in (200, 201)])
    assert faults > 20, "the proxy was too kind"
    print(f"{len(proxy.requests)} requests, {faults} of them failed")


def test_an_expired_token_is_replaced_while_a_watch_runs(control_plane, namespace, proxy, tmp_path):
    control_plane.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "reader"}})
    control_plane.apply([
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": namespace},
         "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "r", "namespace": namespace},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
         "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}]}])
    token = tmp_path / "token"
    token.write_text("expired")
    config = kubeconfig(tmp_path, proxy.url, user={"tokenFile": "token"})
    r = run(config, "list", f"/v1/configmaps/{namespace}")
    assert r.error == "EACCES" and str(token) in r.text
    with Held(config, "watch", f"/v1/configmaps/{namespace}") as w:
        w.say("wait")
        assert str(token) in w.until("wait")[-1]
        (tmp_path / "next").write_text(control_plane.token(namespace, "reader"))
        os.rename(tmp_path / "next", token)
        w.until("SYNCED", timeout=30)
        # the API server no longer knows it: the watch goes on with what is in the file by then
        proxy.fault(Fault(lines=1), path="watch=1")
        proxy.fault(Fault(status=401, body=json.dumps({"kind": "Status", "message": "Unauthorized"})), path="watch=1")
        control_plane.post(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "a"}, "data": {}})
        w.until(f"ADDED {namespace}/a {{}}", timeout=30)


def test_one_leader_at_a_time_whatever_breaks(control_plane, namespace, proxy, config):
    proxy.fault_at_random(0.3, 2, [k for k in ALL if "hang" not in k])
    processes = [subprocess.Popen(
        ["bash", "-c", f'for i in 1 2 3; do coproc D {{ {DRIVER} lock {namespace}/l id{n} 60000 4000 3000 300; }}; '
                       'while read -r line <&"${D[0]}"; do [ "$line" = locked ] && break; done; '
                       f'echo in {n} >>{control_plane.dir}/order; sleep 0.3; echo out {n} >>{control_plane.dir}/order; '
                       'exec {D[1]}>&-; wait $D_PID; done'],
        env=environment(config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for n in range(3)]
    for p in processes:
        out, err = p.communicate(timeout=240)
        assert p.returncode == 0, out + err
    holders = []
    order = (control_plane.dir / "order").read_text().split("\n")[:-1]
    assert len(order) == 18
    for i in range(0, 18, 2):
        holders.append(order[i].split()[1])
        assert order[i].startswith("in") and order[i + 1] == f"out {holders[-1]}", order
    assert sorted(holders) == ["0"] * 3 + ["1"] * 3 + ["2"] * 3


def test_the_controller_converges_and_then_rests(boot_plane, tmp_path):
    import test_controller as t
    if not os.access(t.KVRAIL, os.X_OK):
        pytest.skip(f"{t.KVRAIL} is not built: run 'make build'")
    plane = boot_plane()
    plane.install_crds()
    t.install(plane)
    for ns in ("llm", "llm2"):
        plane.namespace(ns)
    for n in ("node1", "node2"):
        t.node(plane, n, {"rdma": "yes"})
    with FaultServer(Upstream(plane.url, plane.authority.certificate)) as proxy:
        config = kubeconfig(tmp_path, proxy.url, user={"token": plane.token(t.NS, "kvrail-controller")}, namespace=t.NS)
        proxy.fault_at_random(0.25, 7, ALL)
        with t.Controller(plane, config=config):
            plane.apply([t.policy("p0")] + [t.network(f"rail{i}", networkNamespace="llm") for i in range(6)])
            for n in ("node1", "node2"):
                plane.wait_for(lambda: plane.find(f"{t.SRIOV}/sriovnetworknodestates/{n}"), f"the node state of {n}", timeout=90)
                t.report(plane, n, vfs=4)
            plane.wait_for(lambda: len(plane.get(t.nads("llm"))["items"]) == 6, "six networks", timeout=90)
            plane.patch(f"{t.SRIOV}/sriovnetworks/rail0", {"spec": {"networkNamespace": "llm2"}})
            plane.delete(f"{t.SRIOV}/sriovnetworks/rail1")
            wanted = {f"rail{i}" for i in range(2, 6)}
            plane.wait_for(lambda: ({o["metadata"]["name"] for o in plane.get(t.nads("llm"))["items"]},
                                    {o["metadata"]["name"] for o in plane.get(t.nads("llm2"))["items"]}) == (wanted, {"rail0"}),
                           "networks where they belong", timeout=90)
            plane.wait_for(lambda: not plane.find(f"{t.SRIOV}/sriovnetworks/rail1"), "the deleted network to go", timeout=90)
            for n in ("node1", "node2"):
                state = plane.get(f"{t.SRIOV}/sriovnetworknodestates/{n}")
                assert [(i["name"], i["numVfs"]) for i in state["spec"]["interfaces"]] == [("p0", 4)]
            faults = len([r for r in proxy.requests if r.status not in (200, 201)])
            proxy.share = 0
            assert faults > 10, "the proxy was too kind"

            def rests():
                before = len(proxy.requests)
                time.sleep(5)
                return not [r for r in list(proxy.requests)[before:] if r.method != "GET" and "/leases/" not in r.path]

            plane.wait_for(rests, "the controller to write no more", timeout=60)
            print(f"{len(proxy.requests)} requests, {faults} of them failed")


def test_addresses_are_given_once_and_all_go_back(control_plane, namespace, proxy, config):
    """An ADD or DEL that fails is made again, as the kubelet does it."""
    if not os.access(ipam.BUILD / "test/system/ipam_driver", os.X_OK):
        pytest.skip("ipam_driver is not built")
    conf = ipam.ipam("10.44.0.0/26")
    proxy.fault_at_random(0.2, 11, [k for k in ALL if k not in (dict(status=409), dict(hang=0.5))] + [dict(status=409, body=json.dumps(
        {"kind": "Status", "reason": "Conflict", "message": "the object has been modified", "code": 409}))])
    given, problems = {}, []

    def work(node, number):
        def insist(what):
            for _ in range(30):
                try:
                    return what()
                except ipam.Refused as e:
                    last = e
            raise AssertionError(f"no end: {last}")

        try:
            for i in range(6):
                container, pod = f"c{number}-{i}", f"{namespace}/p{number}-{i}"
                given[container] = insist(lambda: node.add(container, pod, conf))[0]
                if i % 2:
                    insist(lambda: node.delete(container))
                    del given[container]
        except Exception as e:  # noqa: BLE001
            problems.append(e)

    nodes = [ipam.Node(config, f"node{n}", namespace, "overlap=on") for n in range(2)]
    try:
        for n in nodes:
            n.wait_ready()
        threads = [threading.Thread(target=work, args=(nodes[i % 2], i)) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(240)
        assert not problems and not any(t.is_alive() for t in threads), problems
        held = ipam.entries(control_plane, namespace)
        assert len(set(given.values())) == len(given) == 18
        assert sorted(e["id"] for e in held.values()) == sorted(given)
        proxy.share = 0
        for i, n in enumerate(nodes):
            for container in [c for c in given if int(c[1:].split("-")[0]) % 2 == i]:
                n.delete(container)
        assert not ipam.entries(control_plane, namespace)
    finally:
        for n in nodes:
            n.close()
    print(f"{len(proxy.requests)} requests, {len([r for r in proxy.requests if r.status not in (200, 201)])} of them failed")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and netdevs")
def test_pods_come_and_go_on_a_node(control_plane, namespace, proxy, tmp_path):
    """The agent: an ADD that fails is made again in a new sandbox, as the kubelet does it, and nothing is left behind."""
    import test_cluster_agent as t
    control_plane.namespace("kvrail-system")
    t.rails(control_plane, namespace)
    config = kubeconfig(tmp_path, proxy.url, user={"token": control_plane.tokens["admin"]})
    host_dir = tmp_path / "host"
    host_dir.mkdir()
    name = f"n{random.randrange(10**6)}"
    with agenthost.AgentHost(host_dir, control_plane, name, {"rail0": ["d0", "d1"], "rail1": ["d2", "d3"]}, kubeconfig=config) as host:
        host.relay.stop()
        host.relay = agenthost.Relay(host.netns, proxy.http.server_address[1])
        host.relay.start()
        proxy.fault_at_random(0.2, 5, [k for k in ALL if "hang" not in k])
        host.make_state().start().wait_ready(60)
        tries = 0

        def delete(pod, attempt):
            for _ in range(5):
                r = host.cni("DEL", namespace, pod, container=f"{pod}-{attempt}")
                if r.returncode == 0:
                    return
            raise AssertionError(r.stdout)

        for i in range(4):
            pod = f"p{i}"
            host.pod(namespace, pod, t.NETWORKS, t.DEVICES)
            end = time.monotonic() + 90  # a detachment that found no API server is ended by the agent's timer
            for attempt in itertools.count():
                tries += 1
                r = host.cni("ADD", namespace, pod, container=f"{pod}-{attempt}")
                if r.returncode == 0 or time.monotonic() > end:
                    break
                delete(pod, attempt)
                time.sleep(0.5)
            assert r.returncode == 0, r.stdout
            assert {"net1", "ib0"} <= set(host.links(pod))
            assert t.held(control_plane, namespace) == [f"{namespace}/{pod}"]
            delete(pod, attempt)
            assert {"d0", "d1", "d2", "d3"} <= host.host_links()
        proxy.share = 0
        control_plane.wait_for(lambda: not t.held(control_plane, namespace), "addresses to go back", timeout=60)
        host.wait_for(lambda: not os.listdir(host.state / "attach") and not os.listdir(host.state / "spool"), "all detachments to be done", 60)
        host.sync("Succeeded", timeout=60)
        print(f"{tries} ADDs for 4 pods, {len([r for r in proxy.requests if r.status not in (200, 201)])} of {len(proxy.requests)} requests failed")
