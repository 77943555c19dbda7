# SPDX-License-Identifier: Apache-2.0
"""deploy/: what kubectl apply -k would send. Needs kubectl, from `make deps-cluster` or in PATH; no cluster."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
IMAGE = f"localhost/kvrail:{VERSION}"
KVRAIL = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail"


def kubectl():
    folder = subprocess.run([ROOT / "tools/deps-cluster", "folder"], capture_output=True, text=True).stdout.strip()
    ours = pathlib.Path(folder or "/nonexistent") / "kubectl"
    return str(ours) if os.access(ours, os.X_OK) else shutil.which("kubectl")


def build(folder):
    program = kubectl()
    if not program:
        pytest.skip("no kubectl: run 'make deps-cluster'")
    r = subprocess.run([program, "kustomize", folder], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return r.stdout


@pytest.fixture(scope="module")
def text():
    return build(DEPLOY)


@pytest.fixture(scope="module")
def objects(text):
    return list(yaml.safe_load_all(text))


def of(objects, kind, name=None):
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    if name is None:
        return found
    assert len(found) == 1, (kind, name)
    return found[0]


def pod_spec(objects, kind, name):
    return of(objects, kind, name)["spec"]["template"]["spec"]


def test_the_one_file_is_what_kustomize_makes(text):
    have = (DEPLOY / "kvrail.yaml").read_text().partition("\n---\n")[2]
    assert have == text, "deploy/kvrail.yaml is older than what it is made of: run 'make deploy'"


def test_every_crd_is_in_it(objects):
    names = {yaml.safe_load(p.read_text())["metadata"]["name"] for p in (DEPLOY / "crds").glob("*.yaml")}
    assert {o["metadata"]["name"] for o in of(objects, "CustomResourceDefinition")} == names and len(names) >= 13


def test_the_programs_alone_have_neither_namespace_nor_crds(objects):
    programs = list(yaml.safe_load_all(build(DEPLOY / "programs")))
    kinds = {o["kind"] for o in programs}
    assert not kinds & {"Namespace", "CustomResourceDefinition"}
    assert [o for o in objects if o["kind"] not in ("Namespace", "CustomResourceDefinition")] == programs


def test_everything_lies_in_the_one_namespace(objects):
    (namespace,) = of(objects, "Namespace")
    name = namespace["metadata"]["name"]
    cluster_wide = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration",
                    "ValidatingWebhookConfiguration"}
    for o in objects:
        where = o["metadata"].get("namespace")
        assert where == (None if o["kind"] in cluster_wide else "kube-system" if o["metadata"]["name"] == "kvrail-addresses" else name), o["metadata"]
        for subject in o.get("subjects", []):
            assert subject["namespace"] == name
        for hook in o.get("webhooks", []):
            assert hook["clientConfig"]["service"]["namespace"] == name
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_images_carry_this_version(objects):
    for kind, name in ("Deployment", "kvrail-controller"), ("DaemonSet", "kvrail-agent"):
        assert {c["image"] for c in pod_spec(objects, kind, name)["containers"]} == {IMAGE}


def test_the_component_for_whereabouts_lease_adds_the_option_and_its_rights(tmp_path):
    for what in "programs", "components/whereabouts-lease":
        shutil.copytree(DEPLOY / what, tmp_path / what)
    (tmp_path / "kustomization.yaml").write_text("resources: [programs]\ncomponents: [components/whereabouts-lease]\n")
    objects = list(yaml.safe_load_all(build(tmp_path)))
    (agent,) = pod_spec(objects, "DaemonSet", "kvrail-agent")["containers"]
    assert agent["args"][-1] == "--whereabouts-lease"
    role = of(objects, "Role", "kvrail-whereabouts-lease")
    assert role["metadata"]["namespace"] == "kube-system"
    assert {v for r in role["rules"] for v in r["verbs"]} == {"create", "get", "update"}


def test_the_agent_is_neither_privileged_nor_sees_the_hosts_processes_or_root(objects):
    spec = pod_spec(objects, "DaemonSet", "kvrail-agent")
    assert not spec.get("hostPID") and not spec.get("hostIPC") and spec["hostNetwork"] is True
    assert "initContainers" not in spec
    (agent,) = spec["containers"]
    security = agent["securityContext"]
    assert security["privileged"] is False and security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW", "SYS_ADMIN"]}
    paths = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"]}
    for p in paths.values():
        assert p.count("/") >= 2 or p == "/sys", f"{p} is too much of the host"
    assert {m["name"] for m in agent["volumeMounts"]} == set(paths)
    for m in agent["volumeMounts"]:
        assert m["mountPath"] == paths[m["name"]]  # paths in configurations and messages mean the same on both sides
        assert ("mountPropagation" in m) == (m["name"] == "netns")


def test_the_controller_would_pass_the_restricted_standard(objects):
    spec = pod_spec(objects, "Deployment", "kvrail-controller")
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec.get("hostNetwork") and "volumes" not in spec
    for c in spec["containers"]:
        s = c["securityContext"]
        assert s["capabilities"] == {"drop": ["ALL"]} and s["allowPrivilegeEscalation"] is False and s["readOnlyRootFilesystem"] is True
    assert of(objects, "Deployment", "kvrail-controller")["spec"]["replicas"] == 2


def test_both_have_probes_requests_and_a_priority(objects):
    for kind, name, priority in (("Deployment", "kvrail-controller", "system-cluster-critical"), ("DaemonSet", "kvrail-agent", "system-node-critical")):
        spec = pod_spec(objects, kind, name)
        assert spec["priorityClassName"] == priority
        for c in spec["containers"]:
            assert c["livenessProbe"]["httpGet"]["path"] == "/healthz" and c["readinessProbe"]["httpGet"]["path"] == "/readyz"
            assert {"cpu", "memory"} <= set(c["resources"]["requests"]) and "memory" in c["resources"]["limits"]


@pytest.mark.skipif(not KVRAIL.exists(), reason=f"{KVRAIL} is not built")
def test_the_programs_know_their_arguments(objects):
    for kind, name in ("Deployment", "kvrail-controller"), ("DaemonSet", "kvrail-agent"):
        for c in pod_spec(objects, kind, name)["containers"]:
            command, *rest = c["args"]
            known = subprocess.run([KVRAIL, command, "--help"], capture_output=True, text=True).stdout
            for option in rest:
                assert option.split("=")[0] in known.split(), f"kvrail {command} has no {option}"


def test_no_role_has_a_wildcard_or_more_than_it_must(objects):
    """Each verb by name; what a role can write outside the SR-IOV and address kinds is listed here, so that an addition is seen."""
    writes = set()
    for role in of(objects, "ClusterRole") + of(objects, "Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule.get("resources", []), *rule.get("apiGroups", [])], role["metadata"]["name"]
            assert not set(rule["verbs"]) & {"bind", "escalate", "impersonate", "deletecollection"}
            for resource in rule.get("resources", []):
                if set(rule["verbs"]) - {"get", "list", "watch"}:
                    writes.add(resource)
    assert not writes & {"nodes", "namespaces", "configmaps", "clusterroles", "clusterrolebindings", "roles", "rolebindings", "daemonsets",
                         "deployments", "serviceaccounts", "customresourcedefinitions"}
    bound = {b["roleRef"]["name"] for b in of(objects, "ClusterRoleBinding") + of(objects, "RoleBinding")}
    assert bound == {r["metadata"]["name"] for r in of(objects, "ClusterRole") + of(objects, "Role")}


def test_secrets_are_reached_by_name_only(objects):
    for role in of(objects, "ClusterRole") + of(objects, "Role"):
        for rule in role["rules"]:
            if "secrets" in rule.get("resources", []):
                assert role["kind"] == "Role"
                assert rule.get("resourceNames") or rule["verbs"] == ["create"], rule


def test_a_dead_webhook_stops_no_pod_of_the_system(objects):
    (hooks,) = of(objects, "MutatingWebhookConfiguration")
    (pods,) = [h for h in hooks["webhooks"] if any("pods" in r["resources"] for r in h["rules"])]
    own = of(objects, "Namespace")[0]["metadata"]["name"]
    (left_out,) = [e for e in pods["namespaceSelector"]["matchExpressions"] if e["operator"] == "NotIn"]
    assert left_out["key"] == "kubernetes.io/metadata.name" and {"kube-system", own} <= set(left_out["values"])
    service = of(objects, "Service", pods["clientConfig"]["service"]["name"])
    labels = of(objects, "Deployment", "kvrail-controller")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
