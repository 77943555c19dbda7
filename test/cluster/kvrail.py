# SPDX-License-Identifier: Apache-2.0
"""kvrail on the test cluster, installed as a user installs it: the image that tools/image makes, `kubectl apply -k` of deploy/ (lab/cluster adds
soft RoCE, for ports without RDMA), with the roles and limits that are shipped."""
import subprocess

import images
import kserve
from control import TREE, ClusterError

STATE = "/var/lib/kvrail"
SYSTEM = kserve.OPERATOR_NAMESPACE
ATTACHMENTS = f"{STATE}/attach {STATE}/spool /var/run/cdi /etc/cdi /var/lib/cni/multus"


class Kvrail:
    def __init__(self, cluster):
        self.cluster, self.plane = cluster, cluster.plane

    # -- the roles -------------------------------------------------------------------------------------------------
    def start(self, timeout=240):
        archive = images.build("test-image.tar")
        subprocess.run([TREE / "tools/image", "--build", images.build().parent, archive], check=True, capture_output=True)
        self.cluster.registry.archive(archive)
        for n in kserve.NAMESPACE, "llm-test2":
            self.plane.namespace(n)
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", "-k", TREE / "lab/cluster")
        try:
            for what in "deployment/kvrail-controller", "daemonset/kvrail-agent":
                self.plane.kubectl("-n", SYSTEM, "rollout", "status", what, f"--timeout={timeout}s", timeout=timeout + 20)
        except ClusterError as e:
            raise ClusterError(f"{e}\n{self.story()}") from None
        return self

    def pods(self, component):
        """Names of kvrail's own pods: component "agent" or "controller"."""
        return [p["metadata"]["name"] for p in self.plane.get(
            f"/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io/component={component}")["items"]]

    def logs(self, component, lines=25):
        return "\n".join(f"--- {p}\n" + self.plane.kubectl("-n", SYSTEM, "logs", p, f"--tail={lines}", check=False).stdout
                         for p in self.pods(component))

    def story(self):
        pods = self.pods("agent") + self.pods("controller")
        return "\n".join([self.plane.kubectl("get", "pods", "-A", "-o", "wide"), *(self.cluster.story(SYSTEM, p) for p in pods),
                          self.logs("agent"), self.logs("controller")])

    @staticmethod
    def agent_pid(node):
        """The agent's process on a node, None between two."""
        return next(iter(node.run("pgrep -f '^/usr/local/bin/kvrail agent'").out.split()), None)

    def kill_agent(self, node):
        """SIGKILL; the kubelet starts it again."""
        pid = self.agent_pid(node)
        if pid:
            node.run(f"kill -9 {pid}")
        return pid

    def wait_agent(self, node, timeout=120):
        node.wait_for("kvrail status >/dev/null", timeout=timeout)

    # -- networks --------------------------------------------------------------------------------------------------
    def apply_networks(self, objects=None, timeout=120):
        """KServe's policies and networks; until both nodes offer the VFs and the NAD is there."""
        objects = objects or kserve.networks()
        resources = {f"openshift.io/{o['spec']['resourceName']}" for o in objects if o["kind"] == "SriovNetworkNodePolicy"}
        self.plane.apply(objects)
        try:
            self.plane.wait_for(lambda: all(self.offered(n).get(r) == 7 for n in self.cluster.nodes for r in resources),
                                f"7 of {' and '.join(sorted(resources))} on every node", timeout)
            self.plane.wait_for(lambda: self.plane.find(
                f"/apis/k8s.cni.cncf.io/v1/namespaces/{kserve.NAMESPACE}/network-attachment-definitions/{kserve.NETWORK}"),
                f"the NAD {kserve.NAMESPACE}/{kserve.NETWORK}", 30)
        except ClusterError as e:
            raise ClusterError(f"{e}\n{self.story()}\n" + "\n".join(f"{n.name} offers {self.offered(n)}" for n in self.cluster.nodes)) from None

    def offered(self, node):
        """Resources of kvrail that the scheduler sees on a node: {name: count}."""
        allocatable = self.plane.get(f"/api/v1/nodes/{node.name}")["status"].get("allocatable", {})
        return {k: int(v) for k, v in allocatable.items() if "/" in k}

    # -- what is held, and what is left ----------------------------------------------------------------------------
    def leases(self):
        """[(pool, pod reference, interface)] of all IP pools."""
        pools = self.plane.get("/apis/whereabouts.cni.cncf.io/v1alpha1/ippools")["items"]
        return sorted((p["metadata"]["name"], a.get("podref", ""), a.get("ifname", ""))
                      for p in pools for a in p["spec"].get("allocations", {}).values())

    def reservations(self):
        return [r["metadata"]["name"] for r in
                self.plane.get("/apis/whereabouts.cni.cncf.io/v1alpha1/overlappingrangeipreservations")["items"]]

    def found(self, node):
        """What attachments change on a node: names and settings of VFs, RDMA devices, and files that belong to attachments."""
        links = node.sh("""cd /sys/class/net; grep -s '' p?/device/virtfn*/net/*/mtu p?/device/virtfn*/net/*/address
            for p in p0 p1; do echo $p; ip link show $p | grep 'vf '; done; rdma dev | sed 's/^[0-9]*: //'""")
        return {"links": links, "files": self.files(node)}

    @staticmethod
    def files(node):
        """Journals, spooled DELs, CDI specs, results kept for DEL: none without pods that have rails."""
        return node.sh(f"find {ATTACHMENTS} -type f 2>/dev/null || true").split()

    def nothing_left(self, before, timeout=60):
        """Waits until nodes are as they were @before ({name: found()}) and no address is held; an error tells what is left."""
        def clean():
            left = {n.name: f for n in self.cluster.nodes if (f := self.found(n)) != before[n.name]}
            return not left and not self.leases() and not self.reservations()
        try:
            self.plane.wait_for(clean, "nothing is left of the pods", timeout, every=2)
        except ClusterError as e:
            now = {n.name: self.found(n) for n in self.cluster.nodes}
            raise ClusterError(f"{e}\naddresses: {self.leases()}\nreservations: {self.reservations()}\n"
                               + "\n".join(f"{n}:\nbefore {before[n]}\nnow    {now[n]}" for n in now if now[n] != before[n])) from None
