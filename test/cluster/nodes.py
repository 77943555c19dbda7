# SPDX-License-Identifier: Apache-2.0
"""A whole cluster: the control plane of control.py and lab guests as its nodes, with containerd, kubelet and a stand-in for GPUs.

    with Cluster() as c:                        # 2 nodes, Ready in about 80 s
        c.plane.kubectl("get", "nodes")
        c.plane.apply(pod)
        c.wait_pod("default", "web-0")          # until it is Ready; an error tells its events
        node = c.node_of("default", "web-0")
        node.sh("kvrail status")                # a command on the node, as in lab.guest
        node.container("default", "web-0", "main").environment()
        node.restart("kubelet"); node.power_cycle()

Nodes are named node1 and node2. On the host their logs are build/cluster/logs; in the guest /var/log/SERVICE.log and /var/log/pods.
"""
import concurrent.futures
import hashlib
import json
import os
import shlex
import signal
import subprocess
import time
import urllib.parse

import egress
import images
import registry
from control import GUESTS_HOST, LOGS, SCHEDULING, PROGRAMS, SERVICE_HOST, TREE, ApiError, ClusterError, ControlPlane
import control
from lab import guest as lab_guest
from lab import image as lab_image

ON_NODES = ("kubelet", "containerd", "containerd-shim-runc-v2", "ctr")
HERE = TREE / "test/cluster"
MEMORY = lab_guest.MAX_MEMORY
DISK = 2 << 30
STORAGE = "2Ti"  # that nodes are said to have for their pods
IMAGES = 6 << 30  # the disk of containerd
CACHE = TREE / "build/cluster"
USER_NETWORK = "user,id=host,ipv6=off"


def card(netdev, mac):
    return ["-device", f"virtio-net-pci,netdev={netdev},mac=52:54:00:{mac}"]


def drive(path):
    return ["-drive", f"file={path},format=raw,if=virtio,cache=writeback"]


def missing():
    """Why the cluster cannot run here, or None."""
    why = control.missing(PROGRAMS + SCHEDULING + ON_NODES) or lab_guest.missing()
    if why:
        return why
    for path in "/usr/sbin/runc", "/usr/lib/cni/bridge", "/usr/sbin/iptables":
        if not control.pathlib.Path(path).exists():
            return f"nodes need {path}: run 'make deps'"
    if not list(control.pathlib.Path("/usr/lib/python3/dist-packages").glob("grpc")):
        return "nodes need python3-grpcio: run 'make deps'"
    if str(control.assets()).startswith(("/tmp/", "/run/")):
        return f"guests do not see {control.assets()}: they have a /tmp and a /run of their own"
    return None


class Container:
    """A running container, seen from its node: by the process that it began with."""

    def __init__(self, node, id, pid):
        self.node, self.id, self.pid = node, id, pid

    def environment(self):
        data = self.node.guest.get(f"/proc/{self.pid}/environ").decode()
        return dict(v.split("=", 1) for v in data.split("\0") if "=" in v)

    def limit(self, name="Max locked memory"):
        """(soft, hard) as /proc has them: numbers or "unlimited"."""
        line = next(x for x in self.node.sh(f"cat /proc/{self.pid}/limits").splitlines() if x.startswith(name))
        return tuple(line.split()[3:5])

    def sh(self, command, timeout=60):
        """A shell command in the container's namespaces and root, as root; its output."""
        return self.node.sh(f"nsenter -t {self.pid} -a /bin/sh -c {shlex.quote(command)}", timeout=timeout)

    def devices(self):
        return self.sh("ls /dev/infiniband 2>/dev/null || true").split()


class Node:
    """A guest that is a node. Everything of lab.guest.Guest that tests use is here under the same name."""

    def __init__(self, cluster, guest):
        self.cluster, self.guest, self.name, self.number = cluster, guest, guest.name, guest.number
        self.run, self.sh, self.put, self.get, self.spawn, self.wait_for = (
            guest.run, guest.sh, guest.put, guest.get, guest.spawn, guest.wait_for)
        self.services = {}

    @property
    def environment(self):
        c = self.cluster
        return {"NODE": self.name, "NUMBER": str(self.number), "NODES": str(len(c.nodes)), "BIN": str(c.plane.bin),
                "API_PORT": str(c.plane.port), "REGISTRY_PORT": str(c.registry.port), "SERVICE_HOST": SERVICE_HOST,
                "PATH": f"{images.build().parent}:{c.plane.bin}:/opt/cni/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    # -- services --------------------------------------------------------------------------------------------------
    def start(self):
        """After a power-on: all that makes it a node."""
        plane = self.cluster.plane
        self.prepare()
        self.put("/etc/kubernetes/kubelet.kubeconfig", plane.kubeconfig(f"node:{self.name}", GUESTS_HOST).read_bytes(), 0o600)
        self.begin("forward", ["/usr/bin/python3", HERE / "forward.py", f"10.0.2.{10 + self.number}", "1080"])
        self.begin("containerd", [HERE / "node", "containerd"])
        self.begin("kubelet", [HERE / "node", "kubelet"])
        self.begin("gpu-plugin", ["/usr/bin/python3", HERE / "gpu-plugin.py", str(self.cluster.gpus)])

    def prepare(self):
        r = self.run([HERE / "node", "prepare"], env=self.environment, timeout=120)
        if r.rc:
            raise ClusterError(f"{self.name}: {r.out}{r.err}")

    def begin(self, service, argv, environment=None):
        """A long-running program on the node, with its output in /var/log/SERVICE.log."""
        command = " ".join(shlex.quote(str(a)) for a in argv)
        self.services[service] = argv, environment, self.spawn(
            f"exec {command} >>/var/log/{service}.log 2>&1", env={**self.environment, **(environment or {})})
        return self.services[service][2]

    def end(self, service, number=signal.SIGTERM):
        process = self.services[service][2]
        process.signal(number)
        return process.wait(60)

    def restart(self, service, number=signal.SIGTERM):
        argv, environment, _ = self.services[service]
        self.end(service, number)
        return self.begin(service, argv, environment)

    def power_cycle(self):
        """The plug is pulled and put back; containerd and kubelet start again, as at boot."""
        self.guest.power_cycle()
        self.start()

    def log(self, service, lines=40):
        return self.run(f"tail -n {lines} /var/log/{service}.log").out

    # -- containers ------------------------------------------------------------------------------------------------
    def containers(self):
        """[(namespace, pod, container name, id, pid)] of all running containers; the sandbox is named POD."""
        text = self.sh("""ctr -n k8s.io tasks ls -q | while read -r id; do
            ctr -n k8s.io containers info "$id" | tr -d '\\n'; echo
            ctr -n k8s.io tasks ls | awk -v id="$id" '$1 == id { print $2 }'; done""", env=self.environment, timeout=120)
        lines = text.splitlines()
        found = []
        for info, pid in zip(lines[::2], lines[1::2]):
            info = json.loads(info)
            labels = info["Labels"]
            found.append((labels["io.kubernetes.pod.namespace"], labels["io.kubernetes.pod.name"],
                          labels.get("io.kubernetes.container.name", "POD"), info["ID"], int(pid)))
        return found

    def container(self, namespace, pod, name):
        status = self.cluster.plane.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")["status"]
        for s in status.get("containerStatuses", []) + status.get("initContainerStatuses", []):
            if s["name"] == name:
                id = s["containerID"].partition("://")[2]
                pid = self.sh(f"ctr -n k8s.io tasks ls | awk '$1 == \"{id}\" {{ print $2 }}'", env=self.environment)
                return Container(self, id, int(pid))
        raise ClusterError(f"{namespace}/{pod} has no container {name}")

    def http(self, address, port, path, timeout=60, **query):
        """What the engine in a pod answers (images/engine.py), asked from this node."""
        url = f"http://{address}:{port}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
        r = self.run(["curl", "-sS", "--fail-with-body", "--max-time", str(timeout), url], timeout=timeout + 10)
        if r.rc:
            raise ClusterError(f"{url}: {r.err.strip()} {r.out}")
        return json.loads(r.out)


class Cluster:
    def __init__(self, nodes=2, gpus=8, name="cluster", memory=MEMORY, control_plane=None):
        """@control_plane  options of ControlPlane; @gpus: how many nvidia.com/gpu a node offers"""
        why = missing()
        if why:
            raise ClusterError(why)
        self.gpus, self.name = gpus, name
        names = [f"node{n + 1}" for n in range(nodes)]
        self.egress = egress.Egress()
        self.plane = self.egress.plane = ControlPlane(**{"scheduling": True, "nodes": names, "name": name,
                                                         "egress": self.egress.configuration(), **(control_plane or {})})
        self.registry = registry.Registry()
        self.lab = lab_guest.Lab(nodes=nodes, memory=memory, disk=DISK, name=name, qemu_arguments=self._qemu_arguments)
        self.nodes = []

    def _qemu_arguments(self, guest):
        """Two more cards: to this machine's loopback (the API server, the registry), and to the other node."""
        n = guest.number
        if len(self.lab.guests) == 1:
            link = "hubport,id=node,hubid=10"
        else:
            link = (f"stream,id=node,server={'on' if n == 1 else 'off'},addr.type=unix,addr.path={self.lab.dir}/nodes"
                    + ("" if n == 1 else ",reconnect-ms=200"))
        (port,) = control.free_ports(1)
        self.egress.forwarders[f"192.168.50.{n}"] = port
        forward = f"hostfwd=tcp:127.0.0.1:{port}-10.0.2.{10 + n}:1080"
        disk = self.lab.dir / f"{guest.name}.images"
        if not disk.exists():
            subprocess.run(["cp", "--sparse=always", self.base, disk], check=True)
        return ["-netdev", f"{USER_NETWORK},{forward}", *card("host", f"4c:00:{n:02x}"), "-netdev", link, *card("node", f"4d:00:{n:02x}"), *drive(disk)]

    def images_disk(self):
        """Path of a disk for containerd that has the large layers unpacked. Made once, in a guest of its own, and kept under build/cluster: an emulated
        CPU takes a minute for them, on every node."""
        names = [images.PAUSE, images.LARGE]
        key = hashlib.sha256(repr([self.registry.tags[n] for n in names] + [str(self.plane.bin), IMAGES]).encode()).hexdigest()[:12]
        path = CACHE / f"images-{key}.disk"
        if path.exists():
            return path
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob("images-*"):
            old.unlink(missing_ok=True)
        part = CACHE / f".{path.name}.{os.getpid()}"
        lab_image.make_disk(part, IMAGES)
        with lab_guest.Lab(nodes=1, name=f"{self.name}-images",
                           qemu_arguments=["-netdev", USER_NETWORK, *card("host", "4c:00:01"), *drive(part)]) as (guest,):
            node = Node(self, guest)
            node.prepare()
            node.begin("containerd", [HERE / "node", "containerd"])
            node.wait_for(f"{self.plane.bin}/ctr version", timeout=90)
            for n in names:
                node.sh(f"ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d {n}", env=node.environment, timeout=240)
            node.end("containerd")
            node.sh("umount /var/lib/containerd && sync")
        part.rename(path)
        return path

    # -- life ------------------------------------------------------------------------------------------------------
    def start(self):
        began = time.monotonic()
        try:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                made = pool.submit(lambda: images.make(self.registry.start()))
                self.plane.start()
                made.result()
            self.base = self.images_disk()
            # QEMU dies with the thread that started it: this one
            self.nodes = [Node(self, g) for g in self.lab.start().guests]
            with concurrent.futures.ThreadPoolExecutor() as pool:
                list(pool.map(Node.start, self.nodes))
            for n in self.nodes:
                self.wait_node(n.name)
                # what the kubelet does not count on these nodes (localStorageCapacityIsolation), but what manifests ask for; it keeps and offers it
                self.plane.patch(f"/api/v1/nodes/{n.name}/status", {"status": {"capacity": {"ephemeral-storage": STORAGE}}})
        except BaseException:
            self.stop()
            raise
        self.seconds = time.monotonic() - began
        return self

    def stop(self):
        self.keep_logs()
        self.lab.stop()
        self.plane.stop()
        self.egress.stop()
        if hasattr(self.registry, "server"):
            self.registry.stop()

    def keep_logs(self):
        for n in self.nodes:
            if not n.guest.dead:
                for service in n.services:
                    try:
                        (LOGS / f"{self.name}-{n.name}-{service}.log").write_bytes(n.get(f"/var/log/{service}.log"))
                    except lab_guest.LabError:
                        pass

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # -- waiting ---------------------------------------------------------------------------------------------------
    def wait_node(self, name, timeout=240):
        def ready():
            node = self.plane.get(f"/api/v1/nodes/{name}")
            tainted = any(t["key"].startswith("node.kubernetes.io/") for t in node["spec"].get("taints", []))
            return not tainted and condition(node, "Ready")
        try:
            self.plane.wait_for(ready, f"{name} is Ready", timeout)
        except ClusterError as e:
            node = next(n for n in self.nodes if n.name == name)
            raise ClusterError(f"{e}\n" + "\n".join(f"--- {s} on {name}\n{node.log(s, 15)}" for s in node.services)) from None

    def pod(self, namespace, name):
        return self.plane.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def wait_pod(self, namespace, name, timeout=180):
        """Until the pod is Ready; returns it."""
        try:
            return self.plane.wait_for(lambda: (p := self.pod(namespace, name)) and condition(p, "Ready") and p,
                                       f"pod {namespace}/{name} is Ready", timeout)
        except ClusterError as e:
            raise ClusterError(f"{e}\n{self.story(namespace, name)}") from None

    def wait_gone(self, namespace, name, timeout=180):
        self.plane.wait_for(lambda: self.plane.find(f"/api/v1/namespaces/{namespace}/pods/{name}") is None,
                            f"pod {namespace}/{name} is gone", timeout)

    def delete_pod(self, namespace, name, grace=1, wait=True):
        self.plane.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", {"gracePeriodSeconds": grace} if grace is not None else None)
        if wait:
            self.wait_gone(namespace, name)

    def node_of(self, namespace, name):
        where = self.pod(namespace, name)["spec"]["nodeName"]
        return next(n for n in self.nodes if n.name == where)

    def events(self, namespace, name=None):
        """Messages of the events of a namespace, or of one object in it, oldest first."""
        items = self.plane.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        items = [e for e in items if name is None or e["involvedObject"]["name"] == name]
        return [f"{e['reason']}: {e.get('message', '')}" for e in sorted(items, key=lambda e: e["metadata"]["creationTimestamp"])]

    def story(self, namespace, name):
        """What a person would look at when a pod does not start."""
        try:
            status = self.pod(namespace, name)["status"]
        except ApiError as e:
            return str(e)
        states = [f"{s['name']}: {json.dumps(s['state'])}" for s in
                  status.get("initContainerStatuses", []) + status.get("containerStatuses", [])]
        return "\n".join([f"{namespace}/{name} {status.get('phase')}", *states, *self.events(namespace, name)])


def condition(thing, type):
    return any(c["type"] == type and c["status"] == "True" for c in thing.get("status", {}).get("conditions", []))
