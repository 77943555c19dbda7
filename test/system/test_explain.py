# SPDX-License-Identifier: Apache-2.0
"""kvrail explain: annotations as Multus reads them, and what an ADD of a pod would do."""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVRAIL = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail"

pytestmark = pytest.mark.skipif(not KVRAIL.exists(), reason=f"{KVRAIL} is not built")


def explain(*args, rc=0):
    r = subprocess.run([str(KVRAIL), "explain", *args], capture_output=True, text=True, timeout=60)
    assert "Sanitizer" not in r.stderr, r.stderr
    assert r.returncode == rc, (r.stdout, r.stderr)
    return r


@pytest.mark.parametrize("text, networks", [
    ("[]", []),
    ("roce-p2", [{"name": "roce-p2", "namespace": "llm"}]),
    (" a , other/b@rail1,c@", [{"name": "a", "namespace": "llm"}, {"name": "b", "namespace": "other", "interface": "rail1"},
                               {"name": "c", "namespace": "llm"}]),
    ('[{"name":"a.b","ips":["10.0.0.5/24"],"mac":"02-00-5e-10-00-01","default-route":["10.0.0.1"],"ipam-claim-reference":"x"}]',
     [{"name": "a.b", "namespace": "llm", "ips": ["10.0.0.5/24"], "mac": "02-00-5e-10-00-01", "default-route": ["10.0.0.1"]}]),
    ('[{"name":"a","portMappings":[{"hostPort":8080,"containerPort":80}],"bandwidth":{"egressRate":1000},"infiniband-guid":"c2:11:22:33:44:55:66:77"}]',
     [{"name": "a", "namespace": "llm", "portMappings": [{"hostPort": 8080, "containerPort": 80}], "infiniband-guid": "c2:11:22:33:44:55:66:77",
       "bandwidth": {"ingressRate": 0, "ingressBurst": 0, "egressRate": 1000, "egressBurst": 0}}]),
])
def test_an_annotation_is_printed_with_its_own_keys(text, networks):
    r = explain("--annotation", text, "--namespace", "llm", "--output", "json")
    assert json.loads(r.stdout) == {"networks": networks} and r.stderr == ""


@pytest.mark.parametrize("text, says", [
    ("a,b/c/d", 'network 2 (character 3), "b/c/d": more than one "/"'),
    ("a@b@c", "more than one \"@\""),
    ("A", "DNS-1123"),
    ("a@sixteen-bytes-xx", "interface name"),
    ('[{"name":"a","ips":["10.0.0.300"]}]', '[0].ips[0]: "10.0.0.300"'),
    ('[{"name":"a","mac":"1:2"}]', "[0].mac"),
    ('{"name":"a"}', "must be a list"),
    ('[{"name":"a"', "networks:1:"),
])
def test_an_error_is_told_with_its_place(text, says):
    r = explain("--annotation", text, "--namespace", "llm", "--output", "json", rc=1)
    assert says in r.stderr and r.stdout == "" and len(r.stderr.splitlines()) == 1


def test_what_multus_reads_and_no_pod_could_use_is_printed_with_a_warning():
    r = explain("--annotation", "a,", "-o", "json")
    assert json.loads(r.stdout)["networks"][1] == {"name": "", "namespace": "default"}
    assert "network 2 (character 3): name is missing" in r.stderr
    assert "a@eth:0" not in explain("--annotation", "a@eth:0").stderr and "eth:0" in explain("--annotation", "a@eth:0").stderr


NAD = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
NETWORK = {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork", "metadata": {"name": "roce-p2", "namespace": "operator"},
           "spec": {"resourceName": "p2rdma", "networkNamespace": "llm", "spoofChk": "off", "trust": "on",
                    "ipam": json.dumps({"type": "whereabouts", "range": "10.0.132.0/24"}), "metaPlugins": '{"type": "tuning", "mtu": 9000}'}}


def pod(networks, name="decode-0", requests=None, annotations=None, **more):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "llm", "annotations": {
        **({"k8s.v1.cni.cncf.io/networks": networks} if networks else {}), **(annotations or {})}},
        "spec": {"containers": [{"name": "main", "image": "x", "resources": {"limits": requests or {}}, **more}]}}


def nad(name, config, ns="llm", resource=None):
    a = {"annotations": {"k8s.v1.cni.cncf.io/resourceName": resource}} if resource else {}
    return {**NAD, "metadata": {"name": name, "namespace": ns, **a}, "spec": {"config": json.dumps(config)}}


@pytest.fixture
def files(tmp_path):
    def run(*objects, args=(), rc=0, output="json"):
        argv = []
        for i, o in enumerate(objects):
            f = tmp_path / f"{i}.json"
            f.write_text(json.dumps(o))
            argv += ["-f", str(f)]
        r = explain(*argv, *args, "-o", output, rc=rc)
        r.json = json.loads(r.stdout) if output == "json" and r.stdout else None
        return r

    run.dir = tmp_path
    return run


def test_a_pods_networks_are_told_with_their_final_configuration(files):
    bridge = {"cniVersion": "0.4.0", "type": "bridge", "bridge": "br0", "capabilities": {"mac": True}}
    networks = [{"name": "roce-p2", "mac": "02:00:5e:10:00:01"},
                {"name": "side", "namespace": "other", "interface": "side0", "mac": "02:00:5e:10:00:02", "cni-args": {"k": 1}}]
    r = files(NETWORK, nad("side", bridge, ns="other"), pod(json.dumps(networks), requests={"openshift.io/p2rdma": "1"}))
    p, = r.json["pods"]
    assert p["pod"] == "Pod llm/decode-0" and "warnings" not in p and r.stderr == ""
    default, rail, side = p["networks"]
    assert default["interface"] == "eth0" and default["default"] is True
    assert (rail["network"], rail["interface"], rail["madeBy"], rail["resource"]) == ("llm/roce-p2", "net1", "kvrail", "openshift.io/p2rdma")
    assert rail["config"]["name"] == "roce-p2" and rail["config"]["plugins"][0]["type"] == "sriov"
    assert side["madeBy"] == "bridge" and side["interface"] == "side0"
    assert side["config"] == {**bridge, "name": "side", "args": {"cni": {"k": 1}}} and side["runtimeConfig"] == {"mac": "02:00:5e:10:00:02"}
    assert side["args"] == "IgnoreUnknown=true;K8S_POD_NAMESPACE=llm;K8S_POD_NAME=decode-0;K8S_POD_INFRA_CONTAINER_ID=;K8S_POD_UID=;MAC=02:00:5e:10:00:02"
    assert p["resources"] == [{"resource": "openshift.io/p2rdma", "needed": 1, "requested": 1}]
    steps = "\n".join(p["steps"])
    assert "net1 from pool 10.0.132.0-24" in steps and "spoofchk off, trust on, " in steps and "MTU 9000" in steps and "MAC 02:00:5e:10:00:01" in steps
    text = files(NETWORK, pod("roce-p2"), output="table").stdout
    assert "net1       llm/roce-p2  kvrail" in text and "warning: its networks take 1 of openshift.io/p2rdma and its containers ask for 0" in text


def test_an_unknown_network_names_those_that_there_are(files):
    r = files(NETWORK, nad("x", {"type": "bridge"}, ns="far"), pod("roce-p3"), rc=1)
    assert "network llm/roce-p3: there is no network llm/roce-p3: in namespace llm there are roce-p2" in r.stderr and r.stdout == ""
    assert "in namespace far there are x" in files(NETWORK, nad("x", {"type": "bridge"}, ns="far"), pod("far/y"), rc=1).stderr
    assert "in namespace none there is none; the files have llm/roce-p2" in files(NETWORK, pod("none/y"), rc=1).stderr
    assert "give its SriovNetwork or NetworkAttachmentDefinition" in files(pod("y"), rc=1).stderr
    assert "annotation k8s.v1.cni.cncf.io/networks: network 2 (character 3)" in files(NETWORK, pod("a,b/c/d"), rc=1).stderr
    assert "both would be interface net1" in files(NETWORK, pod("roce-p2,roce-p2@net1"), rc=1).stderr
    assert "no network of the pod is a rail" in files(pod(None, annotations={"kvrail.io/rdma": "required"}), rc=1).stderr
    assert '"requried" is neither required nor preferred' in files(NETWORK, pod("roce-p2", annotations={"kvrail.io/rdma": "requried"}), rc=1).stderr
    assert "no pod in the input" in files(NETWORK, rc=1).stderr


def test_one_pod_that_cannot_be_does_not_hide_the_others(files):
    r = files(NETWORK, pod("roce-p2", "good"), pod("bad", "bad"), rc=1)
    assert [p["pod"] for p in r.json["pods"]] == ["Pod llm/good"] and "Pod llm/bad: network llm/bad" in r.stderr


def test_the_nodes_configuration_gives_default_network_and_rules(files):
    conf = files.dir / "00-multus.conf"
    (files.dir / "10.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}))
    conf.write_text(json.dumps({"type": "multus-shim", "name": "m", "clusterNetwork": f"{files.dir}/10.conflist", "namespaceIsolation": True}))
    default = files(NETWORK, pod("roce-p2"), args=["--conf", str(conf)]).json["pods"][0]["networks"][0]
    assert (default["network"], default["madeBy"]) == ("cbr0", "bridge, portmap")
    assert "namespaceIsolation" in files(nad("x", {"type": "bridge"}, ns="far"), pod("far/x"), args=["--conf", str(conf)], rc=1).stderr
    conf.write_text(json.dumps({"type": "multus-shim", "name": "m"}))
    assert "neither clusterNetwork nor delegates" in files(pod("x"), args=["--conf", str(conf)], rc=1).stderr


def test_what_makes_pods_is_explained_too(files):
    template = {"metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": "roce-p2"}}, "spec": {"containers": [{"name": "c"}]}}
    meta = {"name": "x", "namespace": "llm"}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"template": template}}
    lws = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": meta,
           "spec": {"leaderWorkerTemplate": {"leaderTemplate": template, "workerTemplate": template}}}
    service = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "LLMInferenceService",
               "metadata": {**meta, "annotations": template["metadata"]["annotations"]},
               "spec": {"template": {"containers": [{"name": "main"}]}, "prefill": {"template": {"containers": [{"name": "main"}]}}}}
    pods = files(NETWORK, deployment, [lws], service).json["pods"]
    assert [p["pod"] for p in pods] == ["Deployment llm/x", "LeaderWorkerSet llm/x (leader)", "LeaderWorkerSet llm/x (worker)",
                                        "LLMInferenceService llm/x (decode)", "LLMInferenceService llm/x (prefill)"]
    assert all(p["networks"][1]["network"] == "llm/roce-p2" for p in pods)


def test_a_services_annotations_count_as_far_as_kserve_copies_them(files):
    """Of its metadata those of networks; what is under spec.annotations goes to the pods as it is, and wins."""
    required = {"kvrail.io/rdma": "required"}

    def service(annotations=None, prefill_annotations=None, **metadata):
        return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "LLMInferenceService",
                "metadata": {"name": "x", "namespace": "llm", "annotations": {"k8s.v1.cni.cncf.io/networks": "roce-p2", **metadata}},
                "spec": {"annotations": annotations or {}, "template": {"containers": [{"name": "main", "resources": {"limits": {"openshift.io/p2rdma": 1}}}]},
                         "prefill": {"annotations": prefill_annotations or {}, "template": {"containers": [{"name": "main"}]}}}}

    def gated(p):
        return any("kvrail.io/rdma: required" in s for s in p["steps"])

    r = files(NETWORK, nad("other", {"type": "bridge"}), service(**required, **{"v1.multus-cni.io/default-network": "other", "x.io/y": "z"}))
    decode, prefill = r.json["pods"]
    assert not gated(decode) and not gated(prefill) and decode["networks"][0]["network"] != "llm/other"
    lost = "KServe does not copy kvrail.io/rdma, v1.multus-cni.io/default-network from the service's metadata to its pods: put it under"
    assert decode["warnings"] == [f"{lost} spec.annotations"] and prefill["warnings"][-1] == f"{lost} spec.prefill.annotations"
    decode, prefill = files(NETWORK, service(required, **required)).json["pods"]
    assert gated(decode) and "warnings" not in decode and not gated(prefill) and "spec.prefill.annotations" in prefill["warnings"][-1]
    decode, prefill = files(NETWORK, service(prefill_annotations={**required, "k8s.v1.cni.cncf.io/networks": "roce-p2, roce-p2"})).json["pods"]
    assert not gated(decode) and gated(prefill) and [len(p["networks"]) for p in (decode, prefill)] == [2, 3]


UPSTREAM = pathlib.Path(os.environ.get("KVRAIL_UPSTREAM", ROOT.parent / "shared/upstream"))


@pytest.mark.skipif(not (UPSTREAM / "kserve/rendered").exists(), reason="KVRAIL_UPSTREAM has no kserve/rendered")
@pytest.mark.parametrize("name", ["qwen2-7b-pd-decode-pod", "qwen2-7b-pd-prefill-pod", "deepseek-r1-pd-lws"])
def test_kserves_own_pods_are_explained_and_what_they_lack_is_told(name):
    r = explain("-f", str(UPSTREAM / "kserve/network-roce.yaml"), "-f", str(UPSTREAM / f"kserve/rendered/{name}.json"), "-o", "json")
    for p in json.loads(r.stdout)["pods"]:
        assert [n["interface"] for n in p["networks"]] == ["eth0", "net1"] and p["networks"][1]["network"] == "llm-test/roce-p2"
        assert p["resources"] == [{"resource": "openshift.io/p2rdma", "needed": 1, "requested": 0}] and "admission" in p["warnings"][0]
