# SPDX-License-Identifier: Apache-2.0
"""KServe's prefill and decode pods, and the network objects that its documentation applies, for the ports of the lab's nodes.

With KVRAIL_PEERS naming a folder that has `llmisvc`, KServe's own controller makes the pods of its Qwen sample. Else they are those that it once
made, as the API server held them: $KVRAIL_UPSTREAM/kserve/rendered (default ../shared/upstream). Without that folder too, pods of our own
writing ask for the same things in the same way.
"""
import base64
import json
import os
import pathlib
import shutil

import yaml

from control import LOGS, TREE, ApiError, Authority, ClusterError, Daemon

UPSTREAM = pathlib.Path(os.environ.get("KVRAIL_UPSTREAM", TREE.parent / "shared/upstream"))
PEERS = pathlib.Path(os.environ.get("KVRAIL_PEERS", "/nonexistent"))
SAMPLE = UPSTREAM / "kserve/llm-inference-service-pd-qwen2-7b-gpu.yaml"
RENDERED = UPSTREAM / "kserve/rendered"
NETWORKS = UPSTREAM / "kserve/network-roce.yaml"
NAMESPACE = "llm-test"
OPERATOR_NAMESPACE = "openshift-sriov-network-operator"
SERVICE = "qwen2-7b-instruct-pd"
RESOURCE = "openshift.io/p2rdma"
NETWORK = "roce-p2"
SHARED = "rdma/roce_gdr"
PORTS = {"prefill": 8000, "decode": 8001}  # of the engine; decode's sidecar has 8000


def networks():
    """The policies and networks of KServe's network-roce.yaml, "cluster and hardware dependent" as it says itself: its two ports
    are p0 and p1 here, with the 7 VFs that they can have. Nothing else is changed."""
    if not NETWORKS.exists():
        return [d for number in (0, 1) for d in own_network(number)]
    objects = list(yaml.safe_load_all(NETWORKS.read_text()))
    port = iter(("p0", "p1"))
    for o in objects:
        if o["kind"] == "SriovNetworkNodePolicy":
            o["spec"].update(numVfs=7, nodeSelector={"kubernetes.io/os": "linux"},
                             nicSelector={"vendor": "8086", "deviceID": "10c9", "pfNames": [next(port)]})
    return objects


def own_network(number):
    resource, meta = f"p{2 if number == 0 else 13}rdma", {"namespace": OPERATOR_NAMESPACE}
    yield {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy", "metadata": {**meta, "name": f"rail{number}"},
           "spec": {"deviceType": "netdevice", "isRdma": True, "linkType": "eth", "mtu": 9000, "numVfs": 7, "priority": 98, "resourceName": resource,
                    "nicSelector": {"vendor": "8086", "deviceID": "10c9", "pfNames": [f"p{number}"]}, "nodeSelector": {"kubernetes.io/os": "linux"}}}
    yield {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork", "metadata": {**meta, "name": resource.replace("rdma", "").replace("p", "roce-p", 1)},
           "spec": {"networkNamespace": NAMESPACE if number == 0 else "llm-test2", "resourceName": resource, "spoofChk": "off", "trust": "on", "linkState": "enable",
                    "ipam": '{"type": "whereabouts", "range": "10.0.132.0/24"}'}}


def namespaces(plane):
    for name in NAMESPACE, "llm-test2", OPERATOR_NAMESPACE:
        plane.namespace(name)


def prepare(plane, service=SERVICE, account=None):
    """What KServe's controller makes beside the pods of @service: a ServiceAccount, and a Secret with a certificate that signs itself."""
    namespaces(plane)
    certificate, key = Authority(plane.dir / f"pki-{service}", service).issue("tls", f"/CN={service}", [service])
    plane.apply([
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account or f"{service}-kserve", "namespace": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
         "metadata": {"name": f"{service}-kserve-self-signed-certs", "namespace": NAMESPACE},
         "data": {"tls.crt": base64.b64encode(certificate.read_bytes()).decode(), "tls.key": base64.b64encode(key.read_bytes()).decode()}}])


def pods():
    """{"prefill": pod, "decode": pod}"""
    if not RENDERED.exists():
        return {role: own_pod(role) for role in PORTS}
    return {role: json.loads((RENDERED / f"qwen2-7b-pd-{role}-pod.json").read_text()) for role in PORTS}


def own_pod(role):
    """The same annotation, resources, security context and probes in a pod of our own."""
    port = PORTS[role]
    kv_role = {"prefill": "kv_producer", "decode": "kv_consumer"}[role]
    resources = {"cpu": "2", "memory": "16Gi", "nvidia.com/gpu": "1", SHARED: "1"}
    sidecar = {"name": "llm-d-routing-sidecar", "image": "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0", "restartPolicy": "Always",
               "command": ["/app/pd-sidecar", "--port=8000"], "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": f"{SERVICE}-{role}", "namespace": NAMESPACE, "annotations": {"k8s.v1.cni.cncf.io/networks": NETWORK},
        "labels": {"llm-d.ai/role": role}},
        "spec": {"initContainers": [sidecar] if role == "decode" else [], "volumes": [
            {"name": n, "emptyDir": {}} for n in ("home", "tmp")] + [{"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
            "containers": [{
                "name": "main", "image": "ghcr.io/llm-d/llm-d-cuda:v0.9.0", "command": ["/bin/bash", "-c", f"exec vllm serve /mnt/models --port {port} $VLLM_ADDITIONAL_ARGS"],
                "env": [{"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        {"name": "VLLM_ADDITIONAL_ARGS", "value": '--kv_transfer_config {"kv_role":"%s"}' % kv_role},
                        {"name": "UCX_TLS", "value": "rc,sm,self,cuda_copy,cuda_ipc"}, {"name": "HOME", "value": "/home"}],
                "readinessProbe": {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 1, "failureThreshold": 2},
                "resources": {"requests": resources, "limits": resources},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
                                    "seccompProfile": {"type": "RuntimeDefault"}},
                "volumeMounts": [{"name": "home", "mountPath": "/home"}, {"name": "tmp", "mountPath": "/tmp"}, {"name": "dshm", "mountPath": "/dev/shm"}]}]}}


class Controller:
    """KServe's LLMInferenceService controller, as a process on this machine with what it expects to find in the cluster."""

    CRDS = "serving.kserve.io_llminferenceservices.yaml", "serving.kserve.io_llminferenceserviceconfigs.yaml"

    def __init__(self, plane):
        self.plane, self.config = plane, PEERS / "kserve-config"
        self.tmp = plane.dir / "kserve"

    @staticmethod
    def missing():
        """Why it cannot run here, or None."""
        for path in PEERS / "llmisvc", PEERS / "kserve-config", SAMPLE:
            if not path.exists():
                return f"KServe's own controller is not there: no {path}"
        return None

    def _apply(self, *paths, check=True):
        words = [w for p in paths for w in ("-f", p)]
        return self.plane.kubectl("apply", "--server-side", "--force-conflicts", *words, check=check)

    def _install(self):
        crds = [self.config / "llmisvc" / c for c in self.CRDS] + sorted((self.config / "crds").glob("*.yaml"))
        self._apply(*crds)
        self.plane.kubectl("wait", "--for=condition=Established", "--timeout=90s", "crd", "--all")
        self.plane.namespace("kserve")
        self.plane.kubectl("apply", "--server-side", "-n", "kserve", "-f", self.config / "configmap/inferenceservice.yaml")
        presets = sorted((self.config / "llmisvcconfig").glob("config-*.yaml"))
        self.plane.wait_for(  # a CRD that is established is not yet served everywhere
            lambda: self.plane.kubectl("apply", "--server-side", "-n", "kserve", *[w for p in presets for w in ("-f", p)], check=False).returncode == 0,
            "KServe's presets are there", 60)

    def start(self):
        self._install()
        certs = self.tmp / "k8s-webhook-server/serving-certs"
        certs.mkdir(parents=True)
        certificate, key = Authority(self.plane.dir / "pki-kserve", "kserve").issue("tls", "/CN=kserve", ["localhost"])
        shutil.copy(certificate, certs / "tls.crt")
        shutil.copy(key, certs / "tls.key")
        self.daemon = Daemon("llmisvc", [PEERS / "llmisvc", "--metrics-secure=false", "--metrics-addr=0", "--leader-elect=false"],
                             LOGS / f"{self.plane.name}-llmisvc.log", {
                                 "POD_NAMESPACE": "kserve", "TMPDIR": str(self.tmp), "KUBECONFIG": str(self.plane.kubeconfig())})
        self.plane.daemons.append(self.daemon)
        self.daemon.start()
        return self

    def apply_sample(self):
        namespaces(self.plane)
        self.plane.kubectl("apply", "--server-side", "-n", NAMESPACE, "-f", SAMPLE)

    def delete_sample(self, cluster):
        """Until its pods are gone; they get a second instead of the minute that they may take."""
        base = f"/apis/apps/v1/namespaces/{NAMESPACE}"
        self.plane.kubectl("delete", "-n", NAMESPACE, "--wait=false", "-f", SAMPLE)
        self.plane.wait_for(lambda: not self.plane.get(f"{base}/deployments")["items"] and not self.plane.get(f"{base}/replicasets")["items"],
                            "KServe's deployments are gone", 60)
        for p in self.plane.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]:
            try:
                cluster.delete_pod(NAMESPACE, p["metadata"]["name"], wait=False)
            except ApiError as e:
                if e.status != 404:
                    raise
        self.plane.wait_for(lambda: not self.plane.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"], "KServe's pods are gone", 180)

    def engines(self, cluster, count=3, timeout=360):
        """The pods of the sample, 2 prefill and 1 decode, once they are Ready."""
        def pods():
            items = self.plane.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=kserve.io/component=workload")["items"]
            return items if len(items) == count else None
        try:
            made = self.plane.wait_for(pods, f"KServe made {count} pods", 90)
        except ClusterError as e:
            raise ClusterError(f"{e}\n{self.daemon.tail()}") from None
        engines = []
        for p in made:
            pod = cluster.wait_pod(NAMESPACE, p["metadata"]["name"], timeout)
            engines.append(Engine(cluster, pod["metadata"]["labels"]["llm-d.ai/role"], NAMESPACE, pod["metadata"]["name"]))
            engines[-1].pod = pod
        return engines


def start(cluster, timeout=300):
    """Creates both pods as they are, each on a node of its own, and waits until they are Ready. Returns {role: Engine}."""
    made = {}
    for role, pod in pods().items():
        meta = pod["metadata"]
        others = [e.node.name for e in made.values()]
        for n in others:  # the scheduler decides; the node that has the other one takes no more
            cluster.plane.patch(f"/api/v1/nodes/{n}", {"spec": {"unschedulable": True}})
        cluster.plane.post(f"/api/v1/namespaces/{meta['namespace']}/pods", pod)
        try:
            cluster.plane.wait_for(lambda: cluster.pod(meta["namespace"], meta["name"])["spec"].get("nodeName"),
                                   f"{role} is scheduled", 60)
        finally:
            for n in others:
                cluster.plane.patch(f"/api/v1/nodes/{n}", {"spec": {"unschedulable": None}})
        made[role] = Engine(cluster, role, meta["namespace"], meta["name"])
    for e in made.values():
        e.pod = cluster.wait_pod(e.namespace, e.name, timeout)
    return made


def networks_of(pod):
    """A pod's network-status annotation, decoded; [] when there is none."""
    return json.loads(pod["metadata"].get("annotations", {}).get("k8s.v1.cni.cncf.io/network-status", "[]"))


class Engine:
    """A running prefill or decode pod, spoken to over its own port from its node."""

    def __init__(self, cluster, role, namespace, name):
        self.cluster, self.role, self.namespace, self.name = cluster, role, namespace, name
        self.node = cluster.node_of(namespace, name)

    @property
    def address(self):
        return self.pod["status"]["podIP"]

    def ask(self, path, timeout=60, **query):
        return self.node.http(self.address, PORTS[self.role], path, timeout, **query)

    def networks(self):
        """The pod's network-status annotation, decoded; [] when there is none."""
        return networks_of(self.cluster.pod(self.namespace, self.name))

    def rail(self):
        """(interface, address, RDMA device) of the pod's one rail, from its network-status."""
        (status,) = [n for n in self.networks() if n["name"].endswith("/" + NETWORK)]
        return status["interface"], status["ips"][0], status["device-info"]["pci"]["rdma-device"]

    def counters(self):
        """Those of the rail's device, and the pod's TCP segments as "tcp"."""
        about = self.ask("/about")
        return {**about["rdma"][self.rail()[2]]["counters"], "tcp": about["tcp"]}

    def device_files(self):
        """Names under /dev/infiniband that belong to the rail's device, as the node's kernel says; rdma_cm is everybody's."""
        seen = self.node.container(self.namespace, self.name, "main").sh(
            "grep -Hs . /sys/class/infiniband_verbs/uverbs*/ibdev /sys/class/infiniband_mad/*/ibdev || true")
        return {line.split("/")[4] for line in seen.splitlines() if line.endswith(":" + self.rail()[2])}

    def pull(self, peer):
        """A KV cache from @peer's rail, by kvrail-kv: (what it said, packets that the device of this rail received meanwhile)."""
        if peer.ask("/prefill", by="kv") != {"serving": 5700}:
            raise ClusterError(f"{peer.name} serves no blocks")
        before = self.counters()
        r = self.ask("/decode", by="kv", peer=peer.rail()[1], timeout=200)
        if r["rc"]:
            raise ClusterError(f"{self.name} pulls from {peer.name}: {r}")
        return json.loads(r["out"]), self.counters()["rcvd_pkts"] - before["rcvd_pkts"]

    def delete(self, grace=1):  # 0 would forget the pod before its node has
        self.cluster.delete_pod(self.namespace, self.name, grace)
