#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A pod with its default network and 7 rails, attached and detached by a real containerd: kvrail, then Multus + SR-IOV + Whereabouts in
the same guest, on the same VFs; and 7 pods with a rail each at once. Then what is resident on that node with 20 pods attached, and a controller on 10 nodes.

Times are containerd's own (its metrics of CNI calls), minus those of the same pod without rails. The Go stack needs KVRAIL_PEERS (a
folder with multus-daemon, multus-shim, sriov, whereabouts and sriovdp); what it lacks is skipped and said.
usage: bench/cluster.py [kvrail] [go] [memory] [idle]     all by default
"""
import json
import os
import pathlib
import re
import sys
import time
from statistics import median

from rows import ROOT, row, skip

sys.path[:0] = [str(ROOT), str(ROOT / "test/cluster")]
import gostack  # noqa: E402
import nodes  # noqa: E402
from control import TREE, ControlPlane  # noqa: E402

RAILS, TURNS = 7, int(os.environ.get("KVRAIL_TURNS", "5"))
NAMESPACE, SYSTEM = "bench", "openshift-sriov-network-operator"
RESOURCE = "openshift.io/benchrdma"
ADD = f"pod with default network + {RAILS} rails, ADD, minus the same without rails"
DEL = ADD.replace("ADD", "DEL")
AT_ONCE = f"{RAILS} pods with a rail each, created at once: an ADD, default network included"
MEMORY = "kvrail's agent, resident, 20 pods attached on its node"
IDLE = "controller on a 10-node cluster, idle"


def say(text):
    print(f"bench cluster: {text}", file=sys.stderr, flush=True)


def objects():
    meta = {"namespace": SYSTEM}
    return [
        {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy", "metadata": {**meta, "name": "bench"},
         "spec": {"resourceName": "benchrdma", "numVfs": RAILS, "mtu": 1500, "deviceType": "netdevice", "nodeSelector": {"kubernetes.io/os": "linux"},
                  "nicSelector": {"pfNames": ["p0"]}, "priority": 98}},
        {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork", "metadata": {**meta, "name": "bench"},
         "spec": {"resourceName": "benchrdma", "networkNamespace": NAMESPACE, "ipam": '{"type": "whereabouts", "range": "10.9.0.0/16"}'}}]


def pod(name, rails):
    annotations = {"k8s.v1.cni.cncf.io/networks": ",".join(["bench"] * rails)} if rails else {}
    limits = {RESOURCE: str(rails)} if rails else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
            "spec": {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "containers": [
                {"name": "main", "image": "registry.k8s.io/pause:3.10", "resources": {"limits": limits, "requests": limits}}]}}


class Calls:
    """containerd's count and seconds of CNI calls, by verb."""

    def __init__(self, node):
        self.node = node

    def read(self):
        text = self.node.sh("curl -sS http://127.0.0.1:1338/v1/metrics")
        found = re.findall(r'network_plugin_operations_duration_seconds\w*_(sum|count)\{operation_type="(\w+)"\} (\S+)', text)
        return {(verb, what): float(value) for what, verb, value in found}

    def measure(self, verb, action):
        """(seconds a call, calls) of @verb while @action runs."""
        before = self.read()
        action()
        after = self.read()
        n = after.get((verb, "count"), 0) - before.get((verb, "count"), 0)
        if n < 1:
            raise nodes.ClusterError(f"containerd counts no {verb} among {sorted(after)}")
        return (after[(verb, "sum")] - before.get((verb, "sum"), 0)) / n, int(n)


    def settle(self, quiet=6, timeout=60):
        """Until no call came for @quiet seconds: the kubelet has a sandbox torn down again after its pod is gone, which finds nothing to do."""
        end, since, last = time.monotonic() + timeout, time.monotonic(), self.read()
        while time.monotonic() < end and time.monotonic() - since < quiet:
            time.sleep(1)
            now = self.read()
            if now != last:
                since, last = time.monotonic(), now


def attach_and_detach(cluster, label):
    """Median seconds of (ADD, DEL) with rails minus without."""
    calls = Calls(cluster.nodes[0])
    times = {}
    for turn in range(TURNS):
        for rails in 0, RAILS:
            name = f"{label}-{rails}-{turn}"
            add, adds = calls.measure("set_up_pod", lambda: (cluster.plane.post(f"/api/v1/namespaces/{NAMESPACE}/pods", pod(name, rails)),
                                                                   cluster.wait_pod(NAMESPACE, name, 240)))
            away, dels = calls.measure("tear_down_pod", lambda: cluster.delete_pod(NAMESPACE, name))
            calls.settle()
            say(f"{label}: {rails} rails: ADD {add:.2f} s ({adds} calls), DEL {away:.2f} s ({dels} calls)")
            times.setdefault(rails, []).append((add, away))
    with_, without = ([median(t[i] for t in times[r]) for i in (0, 1)] for r in (RAILS, 0))
    return [a - b for a, b in zip(with_, without)]


def create(cluster, pods):
    """All at once, until all are Ready."""
    for p in pods:
        cluster.plane.post(f"/api/v1/namespaces/{NAMESPACE}/pods", p)
    for p in pods:
        cluster.wait_pod(NAMESPACE, p["metadata"]["name"], 400)


def delete(cluster, pods):
    for p in pods:
        cluster.delete_pod(NAMESPACE, p["metadata"]["name"], wait=False)
    for p in pods:
        cluster.wait_gone(NAMESPACE, p["metadata"]["name"], 300)


def all_at_once(cluster, label):
    """Median seconds of an ADD when as many pods start at once as there are VFs: the mean of a turn's calls, the wait for each other included."""
    calls, times = Calls(cluster.nodes[0]), []
    for turn in range(TURNS):
        pods = [pod(f"{label}-once-{turn}-{i}", 1) for i in range(RAILS)]
        add, adds = calls.measure("set_up_pod", lambda: create(cluster, pods))
        delete(cluster, pods)
        calls.settle()
        say(f"{label}: {RAILS} pods at once: ADD {add:.2f} s ({adds} calls)")
        times.append(add)
    return median(times)


BARE = """set -e
cd /sys/class/net/p0/device; ip netns add bare
i=0; for d in virtfn*/net/*; do n=${d##*/}; i=$((i + 1))
    echo "link set $n netns bare name net$i"; echo "link set net$i up" >&3; echo "addr add 10.8.0.$i/16 dev net$i" >&3; echo "link set net$i netns 1 name $n" >&4
done >/run/bare.in 3>/run/bare.up 4>/run/bare.out
a=$(date +%s.%N); ip -batch /run/bare.in; ip -n bare -batch /run/bare.up; b=$(date +%s.%N); ip -n bare -batch /run/bare.out; c=$(date +%s.%N)
ip netns del bare; rm /run/bare.*; echo "$a $b $c" """


def bare_calls(node):
    """Median seconds that `ip -batch` takes to move the rails' VFs, set them up and give addresses, without a pod; and to bring them back."""
    turns = []
    for _ in range(TURNS):
        a, b, c = map(float, node.sh(BARE, timeout=120).split())
        turns.append((b - a, c - b))
    return [median(t[i] for t in turns) for i in (0, 1)]


def wait_resource(cluster, name, timeout=300):
    cluster.plane.wait_for(lambda: cluster.plane.get(f"/api/v1/nodes/{name}")["status"]["allocatable"].get(RESOURCE) == str(RAILS),
                           f"{name} offers {RAILS} of {RESOURCE}", timeout)


def install_kvrail(cluster):
    import subprocess
    said = subprocess.run([TREE / "tools/image"], capture_output=True, text=True, check=True).stdout
    node = cluster.nodes[0]
    node.sh(f"ctr -n k8s.io images import {TREE / said.partition(': ')[0]}", env=node.environment, timeout=240)
    cluster.plane.kubectl("apply", "-k", TREE / "deploy")
    for what in "deployment/kvrail-controller", "daemonset/kvrail-agent":
        cluster.plane.kubectl("-n", SYSTEM, "rollout", "status", what, "--timeout=240s", timeout=260)
    cluster.plane.namespace(NAMESPACE)
    cluster.plane.wait_for(lambda: cluster.plane.apply(objects()) or True, "the webhooks answer", 60)
    wait_resource(cluster, node.name)


def without_kvrail(cluster):
    """The VFs and the network for the Go stack alone, by hand."""
    cluster.plane.install_crds()
    cluster.plane.namespace(NAMESPACE)
    cluster.nodes[0].sh(f"echo {RAILS} > /sys/class/net/p0/device/sriov_numvfs; ip link set p0 up", timeout=120)
    config = {"cniVersion": "1.0.0", "name": "bench", "type": "sriov", "ipam": {"type": "whereabouts", "range": "10.9.0.0/16"}}
    cluster.plane.apply({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {
        "name": "bench", "namespace": NAMESPACE, "annotations": {"k8s.v1.cni.cncf.io/resourceName": RESOURCE}}, "spec": {"config": json.dumps(config)}})


def resident(node, programs):
    """{program: KiB} of the named programs that run there."""
    text = node.sh("for p in /proc/[0-9]*; do [ -r $p/status ] && echo \"$(tr '\\0' ' ' <$p/cmdline)|$(awk '/^VmRSS/ { print $2 }' $p/status)\"; done; true")
    found = {}
    for line in text.splitlines():
        command, _, rss = line.rpartition("|")
        name = os.path.basename(command.split(" ")[0]) if command.strip() else ""
        if name in programs and rss:
            key = " ".join([name, *command.split()[1:2]]) if name == "kvrail" else name
            found[key] = found.get(key, 0) + int(rss)
    return found


def go_stack(cluster):
    stack = gostack.GoStack(cluster, RESOURCE).start()
    try:
        wait_resource(cluster, cluster.nodes[0].name)
        times = attach_and_detach(cluster, "go"), all_at_once(cluster, "go")
        memory = resident(cluster.nodes[0], {"multus-daemon", "sriovdp"})
    except nodes.ClusterError:
        say(cluster.nodes[0].log("multus-daemon"))
        raise
    finally:
        stack.stop()
    return times, memory


def twenty_pods(cluster):
    """20 pods attached: 6 of them with a rail, as many as there are VFs but one."""
    pods = [pod(f"m-{i}", 1 if i < 6 else 0) for i in range(20)]
    create(cluster, pods)
    time.sleep(10)
    memory = resident(cluster.nodes[0], {"kvrail"})
    delete(cluster, pods)
    return memory


def idle_controller():
    """(KiB, writes in 60 s) of a controller whose 10 nodes are objects only."""
    import subprocess
    with ControlPlane(name="idle", nodes=[f"n{i}" for i in range(10)]) as plane:
        plane.kubectl("apply", "-k", TREE / "deploy")
        for hook in "mutatingwebhookconfiguration", "validatingwebhookconfiguration":  # no Service leads to this one
            plane.kubectl("delete", hook, "kvrail")
        for i in range(10):
            plane.post("/api/v1/nodes", {"metadata": {"name": f"n{i}", "labels": {"kubernetes.io/os": "linux"}}})
        plane.namespace(NAMESPACE)
        plane.apply(objects())
        config = plane.service_account(SYSTEM, "kvrail-controller")
        with open(ROOT / "build/cluster/logs/idle-controller.log", "wb") as log:
            c = subprocess.Popen([nodes.images.build("kvrail"), "controller", "--kubeconfig", config, "--namespace", SYSTEM, "--metrics-address", "127.0.0.1:0",
                                  "--webhook-address", "127.0.0.1:0"], stderr=log)
        try:
            plane.wait_for(lambda: len(plane.get(f"/apis/sriovnetwork.openshift.io/v1/namespaces/{SYSTEM}/sriovnetworknodestates")["items"]) == 10,
                           "10 node states", 60)
            time.sleep(15)
            user = f"system:serviceaccount:{SYSTEM}:kvrail-controller"
            before = len(plane.audit())
            time.sleep(60)
            writes = [e for e in plane.audit()[before:] if e["user"]["username"] == user and e["verb"] not in ("get", "list", "watch")
                      and e.get("objectRef", {}).get("resource") != "leases"]
            rss = int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{c.pid}/status").read_text()).group(1))
        finally:
            c.terminate()
            c.wait(20)
    return rss, writes


def main():
    parts = sys.argv[1:] or ["kvrail", "go", "memory", "idle"]
    why = nodes.missing()
    if why:
        for what, reach in (ADD, "<= 1/10"), (DEL, "<= 1/10"), (MEMORY, "< 16 MiB"), (IDLE, "< 12 MiB, no write"):
            skip(what, reach, why)
        return
    lacks = gostack.missing()
    ours = go = ours_at_once = go_at_once = memory = bare = None
    go_memory = {}
    if {"kvrail", "go", "memory"} & set(parts):
        with nodes.Cluster(nodes=1, name="bench") as cluster:
            say(f"cluster up after {cluster.seconds:.0f} s")
            if {"kvrail", "memory"} & set(parts):
                install_kvrail(cluster)
            else:
                without_kvrail(cluster)
            if "kvrail" in parts:
                ours = attach_and_detach(cluster, "kvrail")
                ours_at_once = all_at_once(cluster, "kvrail")
                bare = bare_calls(cluster.nodes[0])
            if "memory" in parts:
                memory = twenty_pods(cluster)
            if "go" in parts and not lacks:
                if {"kvrail", "memory"} & set(parts):
                    cluster.plane.kubectl("delete", "-k", TREE / "deploy/programs")
                    cluster.plane.wait_for(lambda: not cluster.plane.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"], "kvrail is gone", 120)
                (go, go_at_once), go_memory = go_stack(cluster)
                say(f"Go: ADD {go[0]:.2f} s, DEL {go[1]:.2f} s more with {RAILS} rails; resident {go_memory}")
    for i, what in enumerate((ADD, DEL)):
        if ours and go:
            row(what, f"{ours[i] / go[i]:.3f}x ({ours[i]:.2f} / {go[i]:.2f} s)", "<= 1/10", ours[i] <= go[i] / 10)
        elif ours:
            row(what, f"{ours[i]:.2f} s", "-")
            skip(f"{what}, against Multus + sriov + Whereabouts", "<= 1/10", f"no {' '.join(lacks)} in KVRAIL_PEERS")
    if ours_at_once:
        beside = f"{ours_at_once / go_at_once:.3f}x ({ours_at_once:.2f} / {go_at_once:.2f} s)" if go_at_once else f"{ours_at_once:.2f} s"
        row(AT_ONCE, beside, "-")
    if bare:
        row(f"the same {RAILS} VFs moved, up, with an address by ip -batch, without a pod; and back", f"{bare[0]:.2f} s; {bare[1]:.2f} s", "-")
    if memory:
        agent = sum(v for k, v in memory.items() if k == "kvrail agent")
        beside = ", ".join(f"{k} {v / 1024:.0f}" for k, v in go_memory.items())
        row(MEMORY, f"{agent / 1024:.1f} MiB" + (f" (Go: {beside} MiB)" if beside else ""), "< 16 MiB", agent < 16 * 1024)
    if "idle" in parts:
        rss, writes = idle_controller()
        row(IDLE, f"{rss / 1024:.1f} MiB, {len(writes)} writes in 60 s", "< 12 MiB, no write", rss < 12 * 1024 and not writes)


if __name__ == "__main__":
    main()
