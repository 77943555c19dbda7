# SPDX-License-Identifier: Apache-2.0
"""Pods of KServe's DeepSeek sample, whose prefill and decode are each spread over two nodes: the LeaderWorkerSets that KServe's controller made of
it ($KVRAIL_UPSTREAM/kserve/rendered, else sets of our own writing that ask for the same), turned into pods as the controller of LeaderWorkerSets
and the StatefulSets under it do it: name, host name, labels, annotations and three variables (sigs.k8s.io/lws, pkg/utils/pod/pod_utils.go and
pkg/webhooks/pod_webhook.go). Nothing else of the templates is changed.
"""
import copy
import hashlib
import json

import kserve
from kserve import NAMESPACE, RENDERED, SHARED

SERVICE = "deepseek-r1-0528-pd"
ACCOUNT = "hfsa"
CLAIM = "llm-test-pvc-deepseek"  # of the model, mounted read-only
ROLES = "decode", "prefill"
GROUP = "leaderworkerset.sigs.k8s.io"


def sets():
    """{"decode": LeaderWorkerSet, "prefill": LeaderWorkerSet}"""
    file = RENDERED / "deepseek-r1-pd-lws.json"
    made = json.loads(file.read_text()) if file.exists() else [own_set(role) for role in ROLES]
    return {s["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["metadata"]["labels"]["llm-d.ai/role"]: s for s in made}


def own_set(role):
    """The same annotation, resources, security context, volumes and variables in a set of our own."""
    base = kserve.own_pod(role)
    leader = {"metadata": {"annotations": base["metadata"]["annotations"], "labels": base["metadata"]["labels"]}, "spec": base["spec"]}
    main = leader["spec"]["containers"][0]
    main["resources"] = {what: {"cpu": cpu, "memory": memory, "ephemeral-storage": "800Gi", "nvidia.com/gpu": "8", SHARED: "1"}
                         for what, cpu, memory in (("requests", "64", "256Gi"), ("limits", "128", "512Gi"))}
    main["securityContext"]["capabilities"]["add"] = ["IPC_LOCK", "SYS_RAWIO", "NET_RAW"]
    main["env"] += [{"name": n, "value": v} for n, v in (
        ("KSERVE_INFER_ROCE", "true"), ("NCCL_IB_GID_INDEX", "3"), ("NVSHMEM_IB_GID_INDEX", "3"), ("UCX_IB_GID_INDEX", "3"), ("NCCL_SOCKET_IFNAME", "net1"),
        ("NVSHMEM_REMOTE_TRANSPORT", "ibgda"))]
    main["volumeMounts"].append({"name": "model", "mountPath": "/mnt/models", "readOnly": True})
    leader["spec"].update(serviceAccountName=ACCOUNT, terminationGracePeriodSeconds=60)
    leader["spec"]["volumes"].append({"name": "model", "persistentVolumeClaim": {"claimName": CLAIM}})
    worker = copy.deepcopy(leader)
    worker["metadata"]["labels"] = {}
    worker["spec"]["initContainers"] = []
    del worker["spec"]["containers"][0]["readinessProbe"]  # as KServe's: only a leader is asked
    return {"metadata": {"name": f"{SERVICE}-kserve-mn" + ("-prefill" if role == "prefill" else ""), "namespace": NAMESPACE},
            "spec": {"leaderWorkerTemplate": {"size": 2, "leaderTemplate": leader, "workerTemplate": worker}}}


def pods(lws):
    """[leader, worker, ...] of the first group of a set."""
    name, template = lws["metadata"]["name"], lws["spec"]["leaderWorkerTemplate"]
    return [pod(name, template["workerTemplate" if i else "leaderTemplate"], i, template["size"]) for i in range(template["size"])]


def pod(name, template, index, size):
    leader = f"{name}-0"
    made = copy.deepcopy({"apiVersion": "v1", "kind": "Pod", **template})
    meta, spec = made["metadata"], made["spec"]
    meta["name"], meta["namespace"] = f"{leader}-{index}" if index else leader, NAMESPACE
    meta.setdefault("labels", {}).update({
        f"{GROUP}/name": name, f"{GROUP}/group-index": "0", f"{GROUP}/worker-index": str(index),
        f"{GROUP}/group-key": hashlib.sha1(f"{NAMESPACE}/{leader}".encode()).hexdigest(),
        "statefulset.kubernetes.io/pod-name": meta["name"], "apps.kubernetes.io/pod-index": str(index)})
    meta.setdefault("annotations", {})[f"{GROUP}/size"] = str(size)
    if index:
        meta["annotations"][f"{GROUP}/leader-name"] = leader
    spec.update(hostname=meta["name"], subdomain=name)
    for c in spec.get("initContainers", []) + spec["containers"]:
        c["env"] = [{"name": "LWS_LEADER_ADDRESS", "value": f"{leader}.{name}.{NAMESPACE}"}, *c.get("env", []),
                    {"name": "LWS_GROUP_SIZE", "value": str(size)}, {"name": "LWS_WORKER_INDEX", "value": str(index)}]
    return made


def prepare(plane):
    """What the sample wants to find: a ServiceAccount, a certificate, and the model's volume, which is an empty folder of each node here."""
    kserve.prepare(plane, SERVICE, ACCOUNT)
    size = {"storage": "1Ti"}
    plane.apply([
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": CLAIM}, "spec": {
            "capacity": size, "accessModes": ["ReadOnlyMany"], "hostPath": {"path": "/run/disk/model", "type": "DirectoryOrCreate"},
            "claimRef": {"namespace": NAMESPACE, "name": CLAIM}}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM, "namespace": NAMESPACE}, "spec": {
            "accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": CLAIM, "resources": {"requests": size}}}])


def tidy(plane):
    plane.kubectl("-n", NAMESPACE, "delete", "--ignore-not-found", f"persistentvolumeclaim/{CLAIM}", f"serviceaccount/{ACCOUNT}",
                  f"secret/{SERVICE}-kserve-self-signed-certs")
    plane.kubectl("delete", "--ignore-not-found", f"persistentvolume/{CLAIM}")


class Group:
    """A leader and its workers, running."""

    def __init__(self, cluster, role, timeout=420):
        made = pods(sets()[role])
        self.cluster, self.made = cluster, []
        try:
            for p in made:  # the set's startupPolicy is LeaderCreated: workers do not wait for the leader to be Ready
                cluster.plane.post(f"/api/v1/namespaces/{NAMESPACE}/pods", p)
                self.made.append(p["metadata"]["name"])
            ready = [cluster.wait_pod(NAMESPACE, n, timeout) for n in self.made]
        except BaseException:
            self.delete()
            raise
        self.engines = [kserve.Engine(cluster, role, NAMESPACE, n) for n in self.made]
        for e, p in zip(self.engines, ready):
            e.pod = p
        self.leader, self.worker = self.engines

    def delete(self):
        """With a second for what may take a minute, and a preStop of 15 s."""
        for n in self.made:
            self.cluster.delete_pod(NAMESPACE, n, wait=False)
        for n in self.made:
            self.cluster.wait_gone(NAMESPACE, n)
        self.made = []
