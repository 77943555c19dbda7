# SPDX-License-Identifier: Apache-2.0
"""A node that is a network namespace: the real agent in it, a real API server behind a relay, plain interfaces in place of VFs, a
kubelet's side of pod resources, and pods that are namespaces. No guest is booted.

    with AgentHost(tmp_path, plane, "n1", {"rail0": ["d0", "d1"]}) as host:
        host.start(); host.wait_ready()
        host.pod("ns", "p", annotations={...}, devices={"c": {"openshift.io/rail0": ["d0"]}})
        host.add("ns", "p")          # what the runtime does: the installed shim with the configuration that the agent wrote
"""
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

TREE = pathlib.Path(__file__).resolve().parents[2]
BUILD = TREE / os.environ.get("KVRAIL_BUILD", "build-asan")
sys.path.append(str(TREE / "test/system"))
import kubelet  # noqa: E402

CLONE_NEWNET = 0x40000000


def run(*args, **options):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=120, **options)


def must(*args, **options):
    r = run(*args, **options)
    assert r.returncode == 0, f"{args}: {r.stdout}{r.stderr}"
    return r.stdout


def listener_in(netns, port):
    """A listening socket of a namespace, made by a thread that enters it: sockets belong to where they were made."""
    result = []

    def work():
        with open(f"/run/netns/{netns}") as f:
            if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        result.append(socket.create_server(("127.0.0.1", port)))

    t = threading.Thread(target=work)
    t.start()
    t.join()
    return result[0]


class Relay:
    """The API server's port, inside the namespace. stop(): nobody answers there, and what was open is cut."""

    def __init__(self, netns, port):
        self.netns, self.port, self.listener, self.pairs = netns, port, None, []

    def start(self):
        self.listener = listener_in(self.netns, self.port)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                inside, _ = listener.accept()
                outside = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            self.pairs.append((inside, outside))
            for a, b in ((inside, outside), (outside, inside)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        for pair in self.pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()
        self.pairs = []


class AgentHost:
    def __init__(self, folder, plane, name, devices, kubeconfig=None, namespace="kvrail-system"):
        self.dir, self.plane, self.name, self.devices, self.namespace = folder, plane, name, devices, namespace
        self.netns = f"kvr-{name}-{os.getpid()}"
        self.kubeconfig = kubeconfig or plane.kubeconfig()
        self.socket, self.state = folder / "agent.sock", folder / "state"
        self.conf_dir, self.bin, self.kubelet_dir = folder / "net.d", folder / "bin", folder / "kubelet"
        self.process, self.pods = None, []
        for d in (self.conf_dir, self.bin, self.kubelet_dir / "device-plugins", self.kubelet_dir / "pod-resources"):
            d.mkdir(parents=True)
        self.kubelet = kubelet.Kubelet(self.kubelet_dir / "device-plugins", self.kubelet_dir / "pod-resources/kubelet.sock")
        self.relay = Relay(self.netns, plane.port)
        self.conf = self.conf_dir / "00-kvrail.conf"
        self.log = folder / "agent.log"

    def __enter__(self):
        must("ip", "netns", "add", self.netns)
        must("ip", "-n", self.netns, "link", "set", "lo", "up")
        for names in self.devices.values():
            for n in names:
                must("ip", "-n", self.netns, "link", "add", n, "type", "veth", "peer", "name", f"{n}-peer")
        self.relay.start()
        self.kubelet.start()
        self.default_network()
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            self.relay.stop()
            self.kubelet.stop()
            for p in self.pods:
                run("ip", "netns", "del", p)
            run("ip", "netns", "del", self.netns)

    def default_network(self, name="10-bridge.conflist"):
        """A default network whose plugin is a script: it makes no interface, and writes down what it was called for."""
        script = self.bin / "fake-default"
        script.write_text("#!/bin/sh\ncat > /dev/null\necho \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME\" >> "
                          f"{self.dir}/default.log\n[ $CNI_COMMAND = ADD ] && echo "
                          """'{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_NETNS'"}],"ips":[{"address":"10.88.0.9/16","interface":0}]}'\n"""
                          "exit 0\n")
        script.chmod(0o755)
        (self.conf_dir / name).write_text(json.dumps({"cniVersion": "1.0.0", "name": "fake", "plugins": [{"type": "fake-default"}]}))

    def default_calls(self):
        path = self.dir / "default.log"
        return path.read_text().splitlines() if path.exists() else []

    # -- the agent -------------------------------------------------------------------------------------------------
    def start(self, *options, env=None):
        argv = ["ip", "netns", "exec", self.netns, BUILD / "kvrail", "agent", f"--kubeconfig={self.kubeconfig}",
                f"--state={self.state}", f"--socket={self.socket}", "--rdma-netns=keep", f"--kubelet-dir={self.kubelet_dir}",
                f"--cni-conf-dir={self.conf_dir}", f"--cni-bin-dir={self.bin}", f"--devinfo-dir={self.dir}/devinfo", f"--cdi-dir={self.dir}/cdi",
                f"--multus-dir={self.dir}/multus", f"--multus-conf-dir={self.dir}/multus-conf", "--log-level=debug",
                *[f"--netdev={r}={n}" for r, names in self.devices.items() for n in names], *options]
        environment = {**os.environ, "NODE_NAME": self.name, "NAMESPACE": self.namespace, "RESOURCE_PREFIX": "openshift.io",
                       "WHEREABOUTS_NAMESPACE": "kube-system", **(env or {})}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(a) for a in argv], env=environment, stderr=log, stdout=log)
        return self

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        return self.process.wait(30)

    def stop(self):
        """Ends the agent as its DaemonSet would; what a sanitizer found fails the test."""
        if self.process and self.process.poll() is None:
            code = self.kill(signal.SIGTERM)
            assert code == 0, f"the agent ended with {code}\n{self.log.read_text()[-5000:]}"

    def kvrail(self, *args):
        return run(BUILD / "kvrail", *args, env={**os.environ, "KVRAIL_SOCKET": str(self.socket)})

    def status(self):
        return json.loads(must(BUILD / "kvrail", "status", "-o", "json", env={**os.environ, "KVRAIL_SOCKET": str(self.socket)}))

    def readyz(self):
        """(HTTP status, body)"""
        return self.http("GET", "/readyz")

    def http(self, method, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.socket))
            s.sendall(f"{method} {path} HTTP/1.0\r\nHost: agent\r\n\r\n".encode())
            data = b""
            while more := s.recv(65536):
                data += more
        head, body = data.split(b"\r\n\r\n", 1)
        return int(head.split()[1]), body.decode()

    def is_ready(self):
        try:
            return self.readyz()[0] == 200
        except OSError:
            assert self.process.poll() is None, self.log.read_text()[-5000:]
            return False

    def wait_ready(self, timeout=30):
        self.wait_for(self.is_ready, "the agent to be ready", timeout)
        return self

    def wait_for(self, what, words, timeout=20):
        end = time.monotonic() + timeout
        while not (value := what()):
            assert time.monotonic() < end, f"waited {timeout} s for {words}\n{self.log.read_text()[-5000:]}"
            time.sleep(0.05)
        return value

    def snapshot(self):
        """Text of the snapshot on disk, or None."""
        path = self.state / "snapshot.json"
        return path.read_text() if path.exists() else None

    def make_state(self):
        """The node state, as the controller makes it for a new node."""
        self.plane.apply({"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState",
                          "metadata": {"name": self.name, "namespace": self.namespace}})
        return self

    def node_state(self):
        return self.plane.find(f"/apis/sriovnetwork.openshift.io/v1/namespaces/{self.namespace}/sriovnetworknodestates/{self.name}")

    def sync(self, want, timeout=20):
        """The node state once its syncStatus is @want."""
        def look():
            state = self.node_state()
            return state if state and state.get("status", {}).get("syncStatus") == want else None
        return self.wait_for(look, f"syncStatus {want}", timeout)

    # -- pods ------------------------------------------------------------------------------------------------------
    def pod(self, namespace, name, annotations=None, devices=None, spec=None):
        """The pod at the API server, bound to this node; its devices as the kubelet gave them; a namespace for its sandbox."""
        o = self.plane.post(f"/api/v1/namespaces/{namespace}/pods", {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"nodeName": self.name, "containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 0, **(spec or {})}})
        self.kubelet.pods[(namespace, name)] = devices or {}
        sandbox = f"kvr-{name}-{os.getpid()}"
        must("ip", "netns", "add", sandbox)
        self.pods.append(sandbox)
        return o

    def cni(self, command, namespace, name, uid=None, conf=None, ifname="eth0", container=None, env=None):
        uid = uid or (self.plane.find(f"/api/v1/namespaces/{namespace}/pods/{name}") or {"metadata": {"uid": ""}})["metadata"]["uid"]
        env = {**os.environ, **(env or {}), "KVRAIL_SOCKET": str(self.socket), "KVRAIL_SPOOL": str(self.state / "spool"), "CNI_COMMAND": command,
               "CNI_CONTAINERID": container or f"sandbox-of-{name}", "CNI_NETNS": f"/run/netns/kvr-{name}-{os.getpid()}", "CNI_IFNAME": ifname,
               "CNI_PATH": str(self.bin),
               "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};"
                           f"K8S_POD_INFRA_CONTAINER_ID=sandbox-of-{name};K8S_POD_UID={uid}"}
        return run("ip", "netns", "exec", self.netns, self.bin / "kvrail", env=env, input=conf or self.conf.read_text())

    def add(self, namespace, name, **options):
        """The result of an ADD that must succeed."""
        r = self.cni("ADD", namespace, name, **options)
        assert r.returncode == 0, r.stdout + r.stderr + self.log.read_text()[-3000:]
        return json.loads(r.stdout)

    def refused(self, namespace, name, **options):
        """The error of an ADD that must fail."""
        r = self.cni("ADD", namespace, name, **options)
        assert r.returncode != 0, r.stdout
        return json.loads(r.stdout)

    def delete(self, namespace, name, **options):
        r = self.cni("DEL", namespace, name, **options)
        assert r.returncode == 0, r.stdout + r.stderr

    def links(self, name):
        return {x["ifname"]: x for x in json.loads(must("ip", "-j", "-n", f"kvr-{name}-{os.getpid()}", "addr"))}

    def host_links(self):
        return {x["ifname"] for x in json.loads(must("ip", "-j", "-n", self.netns, "link"))}
