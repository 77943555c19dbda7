# SPDX-License-Identifier: Apache-2.0
"""Nodes that take addresses out of IP pools: kvrail's (test/system/ipam_driver.c) and those of Whereabouts."""
import collections
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
BUILD = TREE / os.environ.get("KVRAIL_BUILD", "build")
GROUP = "/apis/whereabouts.cni.cncf.io/v1alpha1"
WHEREABOUTS = pathlib.Path(os.environ.get("KVRAIL_PEERS", "/nonexistent"), "whereabouts")


class Died(Exception):
    """The node was killed before it answered."""


class Refused(Exception):
    def __init__(self, number, words):
        self.number = number
        super().__init__(f"[{os.strerror(number)}] {words}")


def ipam(range, **more):
    return {"type": "whereabouts", "range": range, **more}


class Node:
    """A process that stands for one node. Thread safe."""

    def __init__(self, config, name, namespace, *options, build=BUILD):
        self.name, self.namespace = name, namespace
        self.process = subprocess.Popen([build / "test/system/ipam_driver", name, namespace, *options], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env={**os.environ, "KUBECONFIG": str(config)})
        self.lock, self.number, self.answers, self.events = threading.Lock(), 0, {}, {}
        self.ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_ready(self):
        assert self.ready.wait(60) and self.process.poll() is None, f"{self.name} did not start"
        return self

    def _read(self):
        for line in self.process.stdout:
            if line == "ready\n":
                self.ready.set()
                continue
            number, _, rest = line.rstrip("\n").partition(" ")
            self.answers[int(number)] = rest
            self.events[int(number)].set()
        self.ready.set()
        with self.lock:
            for e in self.events.values():
                e.set()

    def begin(self, *words):
        """The request's number, for end()."""
        with self.lock:
            self.number += 1
            number = self.number
            self.events[number] = threading.Event()
            try:
                self.process.stdin.write(" ".join([str(number), *words]) + "\n")
                self.process.stdin.flush()
            except (BrokenPipeError, ValueError):
                self.events[number].set()
        return number

    def end(self, number, timeout=120):
        assert self.events[number].wait(timeout), f"{self.name}: no answer"
        answer = self.answers.get(number)
        if answer is None:
            if self.process.poll() is None:
                self.process.wait(10)
            raise Died(self.name)
        verdict, _, rest = answer.partition(" ")
        if verdict != "ok":
            number, _, words = rest.partition(" ")
            raise Refused(int(number), words)
        return rest.rsplit(" ", 1)[0]

    def begin_add(self, container, pod, conf, interfaces=("net1",)):
        return self.begin("add", container, pod, ",".join(interfaces), json.dumps(conf, separators=(",", ":")))

    def add(self, container, pod, conf, interfaces=("net1",)):
        """Addresses with their prefix lengths, in the order of interfaces."""
        return self.end(self.begin_add(container, pod, conf, interfaces)).split(",")

    def delete(self, container, interfaces=()):
        self.end(self.begin("del", container, ",".join(interfaces) or "-"))

    def reconcile(self, pods=()):
        return int(self.end(self.begin("reconcile", ",".join(pods) or "-")))

    def stats(self):
        return collections.Counter({k: int(v) for k, v in (w.split("=") for w in self.end(self.begin("stats")).split())})

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(60)

    def __enter__(self):
        return self.wait_ready()

    def __exit__(self, *_):
        self.close()


class Whereabouts:
    """The Go plugin as CNI would call it: one process for each ADD and DEL. Needs a network namespace at @netns."""

    def __init__(self, config, netns, conf):
        self.dir = tempfile.TemporaryDirectory()
        self.netns = netns
        flat = {"kubernetes": {"kubeconfig": str(config)}, "log_level": "error"}
        path = pathlib.Path(self.dir.name, "whereabouts.conf")
        path.write_text(json.dumps(flat))
        self.conf = json.dumps({"cniVersion": "1.0.0", "name": "go", "type": "none",
                                "ipam": {**conf, **flat, "configuration_path": str(path)}})

    def begin(self, command, container, pod, interface="net1"):
        ns, name = pod.split("/")
        p = subprocess.Popen([WHEREABOUTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={
            **os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": self.netns, "CNI_IFNAME": interface,
            "CNI_PATH": str(WHEREABOUTS.parent),
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={ns};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={container}"})
        p.stdin.write(self.conf)
        p.stdin.close()
        return p

    @staticmethod
    def end(p):
        text = p.stdout.read()
        if p.wait(180) < 0:
            raise Died("whereabouts")
        reply = json.loads(text) if text.strip() else {}
        if p.returncode:
            raise Refused(5, text)
        return [i["address"] for i in reply.get("ips", [])]

    def add(self, container, pod):
        return self.end(self.begin("ADD", container, pod))

    def delete(self, container, pod):
        self.end(self.begin("DEL", container, pod))


def pools(plane, namespace):
    return {p["metadata"]["name"]: p for p in plane.get(f"{GROUP}/namespaces/{namespace}/ippools")["items"]}


def entries(plane, namespace):
    """(pool, offset) -> entry"""
    return {(name, offset): entry for name, p in pools(plane, namespace).items() for offset, entry in p["spec"]["allocations"].items()}


def reservations(plane, namespace):
    items = plane.get(f"{GROUP}/namespaces/{namespace}/overlappingrangeipreservations")["items"]
    return {r["metadata"]["name"]: r["spec"] for r in items}


def config_for(plane, namespace):
    """A kubeconfig whose context names the namespace: where Whereabouts keeps its pools."""
    config = json.loads(plane.kubeconfig().read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    path = plane.dir / f"ipam-{namespace}.kubeconfig"
    path.touch(0o600)
    path.write_text(json.dumps(config))
    return path


def together(jobs, wait=time.monotonic):
    """Begin all, end all: results in order, and seconds from the first beginning to the last end. A job: (begin, end)."""
    start = wait()
    begun = [begin() for begin, _ in jobs]
    return [end(b) for (_, end), b in zip(jobs, begun)], wait() - start
