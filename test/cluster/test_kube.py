# SPDX-License-Identifier: Apache-2.0
"""The API server's client against a real API server."""
import json
import os
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from kubedriver import DRIVER, Held, run  # noqa: E402

pytestmark = pytest.mark.skipif(not os.access(DRIVER, os.X_OK), reason=f"{DRIVER} is not built: run 'make asan'")
SHORT = ("3000", "2000", "500")


def cm(name, **data):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def test_objects_are_made_read_changed_and_deleted(control_plane, namespace):
    config, ref = control_plane.kubeconfig(), f"/v1/configmaps/{namespace}"
    made = run(config, "create", f"{ref}/", cm("a", x="1")).json
    assert made["metadata"]["managedFields"][0]["manager"] == "kvrail"
    assert run(config, "create", f"{ref}/", cm("a")).error == "EEXIST"
    assert run(config, "patch", "merge", f"{ref}/a", '{"data":{"y":"2"}}').json["data"] == {"x": "1", "y": "2"}
    made["data"] = {"x": "3"}
    assert run(config, "update", f"{ref}/a", json.dumps(made)).error == "ESTALE"
    test = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}, {"op": "replace", "path": "/data/x", "value": "4"}]
    assert run(config, "patch", "json", f"{ref}/a", json.dumps(test)).error == "ESTALE"
    bad = run(config, "patch", "json", f"{ref}/a", '[{"op":"add","path":"/data/not a key","value":"1"}]')
    assert bad.error == "EINVAL" and "data[not a key]" in bad.text
    assert run(config, "delete", f"{ref}/a", "another-uid").error == "ESTALE"
    assert run(config, "delete", f"{ref}/a", made["metadata"]["uid"]).rc == 0
    assert run(config, "get", f"{ref}/a").error == "ENOENT"
    assert "its CRD is missing" in run(config, "list", "example.com/v1/things").text


def test_apply_names_who_owns_what_it_would_change(control_plane, namespace):
    config, ref = control_plane.kubeconfig(), f"/v1/configmaps/{namespace}/a"
    control_plane.kubectl("apply", "--server-side", "--field-manager=someone", "-n", namespace, "-f", "-", input=cm("a", x="1"))
    r = run(config, "patch", "apply", ref, cm("a", x="2", y="3"))
    assert r.error == "ESTALE" and 'data.x: conflict with "someone"' in r.text and "data.y" not in r.text
    assert run(config, "patch", "force", ref, cm("a", x="2")).json["data"] == {"x": "2"}


def test_what_a_role_lacks_is_named(control_plane, namespace):
    r = run(control_plane.certificate_user("jane"), "list", f"/v1/pods/{namespace}")
    assert r.error == "EPERM" and f'User "jane" cannot list resource "pods" in API group "" in the namespace "{namespace}"' in r.text


def test_a_long_list_comes_page_by_page(control_plane, namespace):
    control_plane.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{i:04}", "namespace": namespace,
                          "labels": {"half": str(i % 2)}}} for i in range(1010)])
    config = control_plane.kubeconfig()
    lines = run(config, "list", f"/v1/configmaps/{namespace}").text.splitlines()
    assert len(lines) == len(set(lines)) == 1011
    assert len(run(config, "list", f"/v1/configmaps/{namespace}", "half=1").text.splitlines()) == 506
    assert len(run(config, "list", f"/v1/configmaps/{namespace}", "", "metadata.name=c0007").text.splitlines()) == 2


def test_an_informer_follows_and_survives_the_api_server(boot_plane):
    plane = boot_plane()
    config = plane.kubeconfig()
    with Held(config, "watch", "/v1/configmaps/default", "w=1") as w:
        w.expect("SYNCED")

        def put(name, value):
            plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", "labels": {"w": "1"}},
                         "data": {"x": value}})

        put("a", "1")
        w.expect('ADDED default/a {"x":"1"}')
        plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": "default"}, "data": {}})
        plane.api_server.stop()
        time.sleep(1.5)
        w.say("stale")
        stale = w.until("stale")[-1]
        assert int(stale.split()[1]) >= 1 and plane.url in stale
        assert w.all() == {"default/a": {"x": "1"}}
        plane.api_server.start()
        plane.wait_ready()
        put("a", "2")
        w.until('CHANGED default/a {"x":"2"}', timeout=30)
        w.say("stale")
        assert w.until("stale")[-1].startswith("stale 0")
        plane.delete("/api/v1/namespaces/default/configmaps/a")
        w.until('DELETED default/a {"x":"2"}')
        rss = int(next(line for line in open(f"/proc/{w.process.pid}/status") if line.startswith("VmRSS")).split()[1])
        print(f"resident with AddressSanitizer: {rss} KiB")


def test_an_informer_resumes_after_an_api_server_that_hung(boot_plane):
    plane = boot_plane()
    with Held(plane.kubeconfig(), "watch", "/v1/configmaps/default") as w:
        w.expect("SYNCED")
        plane.api_server.pause()
        time.sleep(3)
        r = run(plane.kubeconfig(), "get", "/v1/configmaps/default/a", timeout_ms=1000)
        assert r.error == "EHOSTUNREACH"
        plane.api_server.resume()
        plane.wait_ready()
        plane.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}, "data": {}})
        w.until("ADDED default/a {}", timeout=30)


def test_events_reach_the_object(control_plane, namespace):
    with Held(control_plane.kubeconfig(), "events", f"{namespace}/web-0", "u1", "3", "VF given", "VF lost") as ev:
        time.sleep(1)
        ev.process.stdin.close()
        ev.expect("dropped 0")
    told = json.loads(control_plane.kubectl("get", "events", "-n", namespace, "-o=json", "--field-selector=involvedObject.name=web-0,reason=Tested"))
    assert sorted((e["message"], e["count"], e["source"]["component"]) for e in told["items"]) == [("VF given", 3, "kvrail-test"), ("VF lost", 3, "kvrail-test")]


# elections beside a Go candidate

def lease(plane, name):
    return (plane.find(f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}") or {}).get("spec", {})


def test_a_go_candidate_and_ours_respect_each_other(boot_plane):
    plane = boot_plane()
    if not os.access(plane.bin / "kube-scheduler", os.X_OK):
        pytest.skip("no kube-scheduler")
    config = plane.kubeconfig()
    go = plane._daemon("kube-scheduler", f"--kubeconfig={plane.kubeconfig()}", "--secure-port=0", "--leader-elect=true",
                       "--leader-elect-resource-name=both", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s",
                       "--leader-elect-retry-period=500ms")
    plane.wait_for(lambda: lease(plane, "both").get("holderIdentity"), "the Go candidate to lead", timeout=40)
    holder = lease(plane, "both")["holderIdentity"]
    with Held(config, "elect", "kube-system/both", "ours", *SHORT) as ours:
        time.sleep(5)
        assert ours.lines.empty() and lease(plane, "both")["holderIdentity"] == holder
        go.kill()
        ours.expect("started", timeout=15)
        spec = lease(plane, "both")
        assert spec["holderIdentity"] == "ours" and spec["leaseTransitions"] == 1
        go.start()
        time.sleep(8)
        ours.say("")
        ours.expect("leader 1")
        assert go.alive() and lease(plane, "both")["holderIdentity"] == "ours"
        ours.process.stdin.close()  # gives it back
        ours.expect("stopped")
        start = time.time()
        plane.wait_for(lambda: lease(plane, "both").get("holderIdentity", "ours") not in ("", "ours"), "the Go candidate to lead again", timeout=10, every=0.1)
        assert lease(plane, "both")["leaseTransitions"] == 2
        print(f"the Go candidate leads {time.time() - start:.1f} s after ours gave back")


def test_connections_that_the_api_server_sends_away_are_made_anew(boot_plane):
    """A server behind a balancer ends HTTP/2 connections by chance (GOAWAY): no call may notice."""
    plane = boot_plane(api_server_arguments=["--goaway-chance=0.02"])
    plane.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "shared"}})
    with Held(plane.kubeconfig(), "watch", "/v1/configmaps/default") as w:
        w.until("SYNCED")
        r = run(plane.kubeconfig(), "storm", "/v1/configmaps/default/shared", "6", "20", limit=180)
        assert r.rc == 0, r.text
        data = plane.get("/api/v1/namespaces/default/configmaps/shared")["data"]
        assert len(data) == 120
        plane.wait_for(lambda: w.all()["default/shared"] == data, "the informer to see it all", timeout=30)
    counts = dict(line.split(" ", 1) for line in r.counts.splitlines() if "=" in line)
    assert "failed=0" in counts["get"], r.counts
