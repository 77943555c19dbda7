# SPDX-License-Identifier: Apache-2.0
"""kvrail get, describe, apply, delete and wait on a real API server."""
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = os.environ.get("KVRAIL_BUILD") or ("build-asan" if (ROOT / "build-asan/kvrail").exists() else "build")
KVRAIL = ROOT / BUILD / "kvrail"
pytestmark = pytest.mark.skipif(not os.access(KVRAIL, os.X_OK), reason=f"{KVRAIL} is not built: run 'make asan'")

NETWORK = """apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetwork
metadata: {name: rail}
spec: {resourceName: rail, ipam: '{"type": "whereabouts", "range": "10.9.0.0/24"}'}
"""


@pytest.fixture
def kvrail(control_plane, namespace, tmp_path):
    """kvrail(*arguments) with the cluster's kubeconfig, in the test's namespace; .returncode, .stdout, .stderr."""
    config = tmp_path / "config"  # a copy: control_plane.kubectl() writes admin's anew
    config.write_text(control_plane.kubeconfig(namespace=namespace).read_text())

    def run(*arguments, input=None, check=None):
        r = subprocess.run([KVRAIL, arguments[0], "--kubeconfig", config, *arguments[1:]], input=input, capture_output=True, text=True, timeout=60)
        assert check is None or r.returncode == check, (r.stdout, r.stderr)
        return r

    return run


def test_apply_tells_what_it_did_and_a_second_one_finds_nothing_to_do(kvrail, namespace):
    text = NETWORK + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {a: '1'}\n"
    r = kvrail("apply", "-f", "-", input=text, check=0)
    assert r.stdout == "sriovnetwork.sriovnetwork.openshift.io/rail created\nconfigmap/other created\n"
    r = kvrail("apply", "-f", "-", input=text, check=0)
    assert r.stdout == "sriovnetwork.sriovnetwork.openshift.io/rail unchanged\nconfigmap/other unchanged\n"
    r = kvrail("apply", "-f", "-", "-o", "json", input=text.replace("'1'", "'2'"), check=0)
    assert [(o["name"], o["namespace"], o["result"]) for o in json.loads(r.stdout)] == [("rail", namespace, "unchanged"), ("other", namespace, "changed")]


def test_a_conflict_names_field_and_owner_and_force_takes_it_over(kvrail, control_plane, namespace):
    kvrail("apply", "-f", "-", input=NETWORK, check=0)
    control_plane.kubectl("apply", "--server-side", "--field-manager=gitops", "--force-conflicts", "-n", namespace, "-f", "-",
                          input=NETWORK.replace("resourceName: rail", "resourceName: other"))
    r = kvrail("apply", "-f", "-", input=NETWORK, check=1)
    assert 'spec.resourceName: conflict with "gitops"' in r.stderr and "--force" in r.stderr
    assert control_plane.get(f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworks/rail")["spec"]["resourceName"] == "other"
    assert "changed" in kvrail("apply", "--force", "-f", "-", input=NETWORK, check=0).stdout


def test_one_bad_object_does_not_keep_the_others_and_is_named(kvrail):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n---\napiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\n---\n" + NETWORK
    r = kvrail("apply", "-f", "-", input=text, check=1)
    assert "rail created" in r.stdout
    assert "configmap/Bad_Name: " in r.stderr and "Invalid value" in r.stderr
    assert "stdin:6: Thing t: " in r.stderr and "is its CRD installed?" in r.stderr
    r = kvrail("apply", "-f", "-", input=NETWORK.replace("resourceName", "resuorceName"), check=1)
    assert "stdin:4" in r.stderr and "nothing was changed" in r.stderr  # what kvrail knows is checked before anything is sent


def test_a_crd_and_its_objects_go_in_one_file(kvrail, control_plane):
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.test.kvrail.io"},
           "spec": {"group": "test.kvrail.io", "scope": "Cluster", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"]},
                    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
    thing = {"apiVersion": "test.kvrail.io/v1", "kind": "Thing", "metadata": {"name": "one"}, "status": {"conditions": []}}
    r = kvrail("apply", "-f", "-", input=json.dumps(crd) .join(["", "\n"]) + "---\n" + json.dumps(thing), check=0)
    assert "thing.test.kvrail.io/one created" in r.stdout
    control_plane.patch("/apis/test.kvrail.io/v1/things/one", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    words = kvrail("get", "th", check=0).stdout.split()
    assert words[:4] == ["NAME", "AGE", "READY", "one"] and words[5:] == ["False"]
    kvrail("delete", "crd", "things.test.kvrail.io", check=0)


def test_get_shows_the_kinds_columns_and_selects(kvrail, control_plane, namespace):
    kvrail("apply", "-f", "-", input=NETWORK + "---\n" + NETWORK.replace("{name: rail}", "{name: two, labels: {a: b}}"), check=0)
    control_plane.patch(f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworks/rail/status",
                        {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Rendered", "message": "m",
                                                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    lines = [line.split() for line in kvrail("get", "sriovnetworks", check=0).stdout.splitlines()]
    assert lines[0] == ["NAME", "READY", "AGE"] and lines[1][:2] == ["rail", "True"] and lines[2][:2] == ["two", "-"]
    lines = [line.split() for line in kvrail("get", "SriovNetwork", "-A", "-l", "a=b", check=0).stdout.splitlines()]
    assert lines[0][0] == "NAMESPACE" and [x[:2] for x in lines[1:]] == [[namespace, "two"]]
    out = json.loads(kvrail("get", "sriovnetwork/rail", "-o", "json", check=0).stdout)
    assert len(out) == 1 and list(out[0])[:2] == ["apiVersion", "kind"] and "managedFields" not in out[0]["metadata"]
    items = json.loads(kvrail("get", "cm", "-n", "kube-system", "-o", "json", check=0).stdout)
    assert items and all(o["kind"] == "ConfigMap" and o["apiVersion"] == "v1" for o in items)
    both = kvrail("get", "sriovnetworks,ns", check=0).stdout.split("\n\n")
    assert both[0].startswith("NAME  READY") and both[1].startswith("NAME") and "kube-system" in both[1]
    assert {o["kind"] for o in json.loads(kvrail("get", "sriovnetworks,ns", "-o", "json", check=0).stdout)} == {"SriovNetwork", "Namespace"}
    assert "there are no pods in namespace" in kvrail("get", "pods", check=0).stderr
    r = kvrail("get", "sriovnetwork", "none", check=1)
    assert '"none" not found' in r.stderr
    r = kvrail("get", "sriovnetwroks", check=1)
    assert "did you mean sriovnetworks?" in r.stderr


def test_what_the_server_warns_of_is_passed_on(kvrail):
    r = kvrail("get", "endpoints", check=0)
    assert "warning of the API server: v1 Endpoints is deprecated in v1.33+" in r.stderr


def test_describe_shows_conditions_and_events(kvrail, control_plane, namespace):
    kvrail("apply", "-f", "-", input=NETWORK, check=0)
    path = f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworks/rail"
    made = control_plane.patch(f"{path}/status", {"status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "NoNamespace", "message": "namespace llm is not there: make it", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    control_plane.post(f"/api/v1/namespaces/{namespace}/events", {
        "metadata": {"name": "rail.1"}, "involvedObject": {"kind": "SriovNetwork", "name": "rail", "namespace": namespace, "uid": made["metadata"]["uid"]},
        "type": "Warning", "reason": "NoNamespace", "message": "it waits", "count": 7, "lastTimestamp": "2026-01-01T00:00:00Z", "source": {"component": "kvrail"}})
    text = kvrail("describe", "sriovnetwork", "rail", check=0).stdout
    for part in ("Name:        rail", "resourceName: rail", "NoNamespace", "namespace llm is not there: make it", "(x7)", "it waits"):
        assert part in text, (part, text)


def test_wait_ends_with_the_condition_and_says_what_is_instead(kvrail, control_plane, namespace):
    kvrail("apply", "-f", "-", input=NETWORK, check=0)
    path = f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworks/rail/status"

    def set_ready(status, **more):
        control_plane.patch(path, {"status": {"conditions": [{"type": "Ready", "status": status, "reason": "Test", "message": "because",
                                                              "lastTransitionTime": "2026-01-01T00:00:00Z", **more}]}})

    r = kvrail("wait", "sriovnetwork", "rail", "--for", "condition=Ready", "--timeout", "1s", check=1)
    assert "after 1 s" in r.stderr and "it has no condition Ready" in r.stderr
    set_ready("False")
    r = kvrail("wait", "sriovnetwork", "rail", "--for", "condition=Ready", "--timeout", "1", check=1)
    assert "Ready is False (Test): because" in r.stderr
    kvrail("wait", "sriovnetwork", "rail", "--for", "condition=Ready=False", check=0)
    set_ready("True", observedGeneration=0)
    threading.Timer(1.5, set_ready, ["True"]).start()
    set_ready("False")
    start = time.time()
    assert kvrail("wait", "sriovnetwork/rail", "--for=condition=Ready", check=0).stdout == "sriovnetwork.sriovnetwork.openshift.io/rail condition met\n"
    assert 1 < time.time() - start < 10
    r = kvrail("wait", "sriovnetwork", "none", "--for", "condition=Ready", check=1)
    assert "there is no sriovnetwork.sriovnetwork.openshift.io/none" in r.stderr
    threading.Timer(1.5, lambda: kvrail("delete", "sriovnetwork", "rail")).start()
    kvrail("wait", "sriovnetwork", "rail", "none", "--for", "delete", check=0)
    assert control_plane.find(path.removesuffix("/status")) is None
    for bad in (("--for", "ready"), (), ("--for", "delete", "--timeout", "soon")):
        assert kvrail("wait", "cm", "x", *bad).returncode == 1


def test_wait_by_labels(kvrail, control_plane, namespace):
    for name in ("a", "b"):
        kvrail("apply", "-f", "-", input=NETWORK.replace("{name: rail}", f"{{name: {name}, labels: {{set: one}}}}"), check=0)
        control_plane.patch(f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworks/{name}/status",
                            {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m",
                                                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    assert kvrail("wait", "sriovnetworks", "-l", "set=one", "--for", "condition=Ready", check=0).stdout.count("condition met") == 2
    assert "no object has these labels" in kvrail("wait", "sriovnetworks", "-l", "set=two", "--for", "condition=Ready", "--timeout", "1", check=1).stderr


def test_delete_by_file_and_by_name(kvrail, control_plane, namespace):
    kvrail("apply", "-f", "-", input=NETWORK, check=0)
    assert kvrail("delete", "-f", "-", input=NETWORK, check=0).stdout == "sriovnetwork.sriovnetwork.openshift.io/rail deleted\n"
    assert "was not there" in kvrail("delete", "-f", "-", input=NETWORK, check=0).stdout
    assert "not found" in kvrail("delete", "sriovnetwork", "rail", check=1).stderr
    assert kvrail("delete", "-f", "x", "sriovnetwork", "rail").returncode == 2


def test_what_is_wrong_with_the_cluster_is_told_with_file_and_context(control_plane, tmp_path):
    def kvrail(*arguments, **environment):
        env = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "KVRAIL_SOCKET")}
        return subprocess.run([KVRAIL, *arguments], capture_output=True, text=True, timeout=60, env={**env, "HOME": str(tmp_path), **environment})

    good = control_plane.kubeconfig()
    r = kvrail("get", "pods", "--kubeconfig", str(tmp_path / "none"))
    assert r.returncode == 1 and f"{tmp_path}/none cannot be read" in r.stderr
    r = kvrail("get", "pods", "--kubeconfig", good, "--context", "other")
    assert r.returncode == 1 and "there is no context 'other', its contexts: test" in r.stderr
    config = json.loads(good.read_text())
    config["users"][0]["user"] = {"token": "wrong"}
    (tmp_path / "bad").write_text(json.dumps(config))
    r = kvrail("get", "pods", "--kubeconfig", str(tmp_path / "bad"))
    assert r.returncode == 1 and f"{tmp_path}/bad, context test" in r.stderr and "its token is not accepted" in r.stderr
    r = kvrail("get", "ns", KUBECONFIG=str(good))  # no agent's socket here: the cluster of $KUBECONFIG
    assert r.returncode == 0 and "kube-system" in r.stdout
    r = kvrail("get", "sriovnetworks", KUBECONFIG=str(good), KVRAIL_SOCKET=str(tmp_path / "sock"))
    assert r.returncode == 4 and "no agent answers" in r.stderr
