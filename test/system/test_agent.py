# SPDX-License-Identifier: Apache-2.0
"""The agent on real sockets and namespaces, with plain netdevs in place of VFs (the VFs' own part is tested in the lab)."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "test"), str(ROOT / "test/cluster")]
from agenthost import AgentHost  # noqa: E402
from faults import Fake, Fault, FaultServer, kubeconfig  # noqa: E402

BUILD = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and netdevs")

NETWORK = """
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetwork
metadata: {name: %s, namespace: default}
spec:
  resourceName: %s
  ipam: '{"type": "whereabouts", "range": "%s"}'
"""


def run(*args, **options):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=60, **options)


def must(*args, **options):
    r = run(*args, **options)
    assert r.returncode == 0, f"{args}: {r.stdout}{r.stderr}"
    return r.stdout


class Node:
    """An agent in a network namespace of its own ("the host"), with veths as devices."""

    def __init__(self, dir, name, devices):
        self.dir, self.name, self.devices = dir, name, devices
        self.env = {**os.environ, "KVRAIL_SOCKET": str(dir / "agent.sock"), "KVRAIL_STATE": str(dir / "state"),
                    "KVRAIL_SPOOL": str(dir / "state/spool")}
        self.process = None
        must("ip", "netns", "add", name)
        for netdev in devices.values():
            for n in netdev:
                must("ip", "-n", name, "link", "add", n, "type", "veth", "peer", "name", f"{n}-peer")

    def start(self, *options, env=None, wrap=()):
        netdevs = [f"--netdev={r}={n}" for r, names in self.devices.items() for n in names]
        self.log = open(self.dir / "log", "a")
        self.process = subprocess.Popen(["ip", "netns", "exec", self.name, *wrap, str(BUILD / "kvrail"), "agent", "--standalone",
                                         "--rdma-netns=keep", *netdevs, *options], env={**self.env, **(env or {})}, stderr=self.log)
        for _ in range(300):
            if self.process.poll() is not None or run(BUILD / "kvrail", "status", env=self.env).returncode == 0:
                break
            time.sleep(0.05)
        assert self.process.poll() is None, (self.dir / "log").read_text()

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(30)

    def kvrail(self, *args, **options):
        return run(BUILD / "kvrail", *args, env=self.env, **options)

    def status(self):
        return json.loads(must(BUILD / "kvrail", "status", "-o", "json", env=self.env))

    def links(self):
        return {link["ifname"] for link in json.loads(must("ip", "-j", "-n", self.name, "link"))}

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        run("ip", "netns", "del", self.name)


@pytest.fixture
def node(tmp_path):
    n = Node(tmp_path, f"kvr-host-{os.getpid()}", {"rail0": ["soft0", "soft1"], "rail1": ["soft2", "soft3"]})
    try:
        yield n
    finally:
        n.stop()


@pytest.fixture
def pod():
    names = []

    def make(name):
        full = f"kvr-{name}-{os.getpid()}"
        must("ip", "netns", "add", full)
        names.append(full)
        return f"/run/netns/{full}", full
    yield make
    for full in names:
        run("ip", "netns", "del", full)


def apply(node, text):
    return node.kvrail("apply", "-f", "-", input=text)


NETWORKS = "---".join([NETWORK % ("a", "rail0", "10.9.0.0/24"), NETWORK % ("b", "rail1", "10.9.0.0/24")])


def test_apply_renders_networks_and_a_second_apply_has_nothing_to_do(node):
    node.start()
    r = apply(node, NETWORKS)
    assert r.returncode == 0 and "4 objects changed" in r.stdout, r.stdout + r.stderr
    r = apply(node, NETWORKS)
    assert r.returncode == 0 and "nothing to do" in r.stdout, r.stdout + r.stderr
    nads = json.loads(node.kvrail("get", "net-attach-def", "-o", "json").stdout)
    assert [n["metadata"]["name"] for n in nads] == ["a", "b"]


def test_deleted_network_takes_its_nad_along(node):
    node.start()
    apply(node, NETWORKS)
    r = node.kvrail("delete", "-f", "-", input=NETWORK % ("a", "rail0", "10.9.0.0/24"))
    assert r.returncode == 0, r.stderr
    nads = json.loads(node.kvrail("get", "net-attach-def", "-o", "json").stdout)
    assert [n["metadata"]["name"] for n in nads] == ["b"]


def test_objects_survive_a_kill(node):
    node.start()
    apply(node, NETWORKS)
    node.kill()
    node.start()
    assert "nothing to do" in apply(node, NETWORKS).stdout


def test_pod_gets_its_rails_and_gives_all_back(node, pod):
    node.start()
    apply(node, NETWORKS)
    path, name = pod("p")
    r = node.kvrail("attach", "p", "a", "b", "--netns", path, "-o", "json")
    assert r.returncode == 0, r.stderr
    result = json.loads(r.stdout)
    assert [ip["address"] for ip in result["ips"]] == ["10.9.0.1/24", "10.9.0.2/24"]
    inside = {link["ifname"] for link in json.loads(must("ip", "-j", "-n", name, "link"))}
    assert {"net1", "net2"} <= inside
    rules = must("ip", "-n", name, "rule")
    assert "from 10.9.0.2 lookup" in rules and "from 10.9.0.1 " not in rules  # two rails, one subnet: the second has its own table
    assert "dev net2" in must("ip", "-n", name, "route", "get", "10.9.0.9", "from", "10.9.0.2")
    s = node.status()
    assert [r["ifname"] for r in s["attachments"][0]["rails"]] == ["net1", "net2"]
    assert {p["resource"]: p["free"] for p in s["pools"]} == {"openshift.io/rail0": 1, "openshift.io/rail1": 1}
    assert node.kvrail("detach", "p").returncode == 0
    s = node.status()
    assert s["attachments"] == [] and all(p["free"] == 2 for p in s["pools"])
    assert {"soft0", "soft1", "soft2", "soft3"} <= node.links()
    assert "10.9.0.2" not in must("ip", "-n", name, "rule")


def test_pod_deleted_while_the_agent_is_dead_is_cleaned_at_start(node, pod):
    node.start()
    apply(node, NETWORKS)
    path, name = pod("p")
    assert node.kvrail("attach", "p", "a", "b", "--netns", path).returncode == 0
    node.kill()
    must("ip", "netns", "del", name)
    node.start()
    s = node.status()
    assert s["attachments"] == [] and all(p["free"] == 2 for p in s["pools"])
    assert os.listdir(node.dir / "state/attach") == []


def test_without_its_store_no_address_is_given_twice(node, pod):
    node.start()
    apply(node, NETWORKS)
    path, name = pod("p1")
    assert node.kvrail("attach", "p1", "a", "--netns", path).returncode == 0
    node.kill()
    for f in (node.dir / "state").glob("store.db*"):
        f.unlink()
    for _ in range(2):
        r = run("ip", "netns", "exec", node.name, BUILD / "kvrail", "agent", "--standalone", "--rdma-netns=keep", env=node.env)
        assert r.returncode == 1 and "store.db is lost" in r.stderr and "delete default/p1, then start again" in r.stderr, r.stderr
    must("ip", "netns", "del", name)
    node.start()
    assert node.status()["attachments"] == []


def test_the_last_device_says_who_holds_the_others(node, pod):
    node.start()
    apply(node, NETWORKS)
    for i in range(2):
        path, _ = pod(f"p{i}")
        assert node.kvrail("attach", f"p{i}", "a", "--netns", path).returncode == 0
    path, name = pod("late")
    r = node.kvrail("attach", "late", "a", "--netns", path)
    assert r.returncode == 1 and "default/p0" in r.stderr and "default/p1" in r.stderr, r.stderr
    assert {link["ifname"] for link in json.loads(must("ip", "-j", "-n", name, "link"))} == {"lo"}


def test_unknown_network_names_those_that_are_there(node, pod):
    node.start()
    apply(node, NETWORKS)
    path, _ = pod("p")
    r = node.kvrail("attach", "p", "nothere", "--netns", path)
    assert r.returncode == 1 and "default/nothere" in r.stderr and "a, b" in r.stderr, r.stderr


def test_second_agent_on_the_same_state_is_refused(node):
    node.start()
    r = run(BUILD / "kvrail", "agent", "--standalone", "--rdma-netns=keep", env=node.env)
    assert r.returncode == 1 and "another agent" in r.stderr


def test_sigterm_is_an_orderly_stop(node):
    node.start()
    node.kill(signal.SIGTERM)
    assert node.process.returncode == 0, (node.dir / "log").read_text()
    assert not (node.dir / "agent.sock").exists()


def test_agent_keeps_four_capabilities(node):
    node.start()
    pid = node.status()["agent"]["pid"]
    lines = dict(line.split(":\t") for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
    assert bin(int(lines["CapEff"], 16)).count("1") == 4
    assert bin(int(lines["CapBnd"], 16)).count("1") == 4
    assert lines["NoNewPrivs"] == "1"


def test_settings_of_the_kernel_are_writable_where_a_container_runtime_has_made_them_read_only(node):
    """As in a container: /proc/sys is mounted over itself, read-only. Rails' arp_ignore and rp_filter are set there."""
    node.start(wrap=["unshare", "--mount", "sh", "-c", "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"", "-"])
    mounts = open(f"/proc/{node.status()['agent']['pid']}/mounts").read().splitlines()
    (options,) = [m.split()[3] for m in mounts if m.split()[1] == "/proc/sys"]
    assert "rw" in options.split(",")


def test_request_that_is_no_cni_request_gets_a_cni_error(node):
    node.start()
    r = run("curl", "-s", "--unix-socket", node.env["KVRAIL_SOCKET"], "-d", "{", "http://x/cni")
    if r.returncode == 127:
        pytest.skip("no curl")
    assert json.loads(r.stdout)["code"] == 6


def test_full_disk_is_one_clear_error_and_loses_nothing(node, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    must("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small)
    try:
        node.env["KVRAIL_STATE"] = str(small)
        node.start()
        assert apply(node, NETWORK % ("a", "rail0", "10.9.0.0/24")).returncode == 0
        try:
            with open(small / "filler", "wb", buffering=0) as f:
                while True:
                    f.write(b"x" * 4096)
        except OSError:
            pass
        big = "".join("---" + NETWORK % (f"n{i}", "rail0", "10.9.0.0/24") for i in range(300))
        r = apply(node, big)
        assert r.returncode == 1 and ("full" in r.stderr or "space" in r.stderr), r.stderr
        (small / "filler").unlink()
        assert "nothing to do" in apply(node, NETWORK % ("a", "rail0", "10.9.0.0/24")).stdout
    finally:
        node.stop()
        run("umount", small)


def bridged(node, *devices):
    """Two pods' interfaces meet on one bridge, as ports of one switch."""
    must("ip", "-n", node.name, "link", "add", "br0", "mtu", "9000", "type", "bridge")
    must("ip", "-n", node.name, "link", "set", "br0", "up")
    for d in devices:
        must("ip", "-n", node.name, "link", "set", d, "mtu", "9000")
        must("ip", "-n", node.name, "link", "set", f"{d}-peer", "mtu", "9000", "master", "br0", "up")


def test_verify_takes_the_other_pods_name_and_makes_it_listen(node, pod):
    node.start()
    apply(node, NETWORKS)
    bridged(node, "soft0", "soft1")
    for name in ("p", "q"):
        assert node.kvrail("attach", name, "a", "--netns", pod(name)[0]).returncode == 0
    r = node.kvrail("verify", "q", "default/p", "--timeout", "20", "-o", "json")
    assert r.returncode == 0, r.stdout + r.stderr
    lines = {(line["where"], line["check"]): line["verdict"] for line in json.loads(r.stdout)["lines"]}
    assert any(where == "peer" for where, _ in lines)
    assert lines["path", "9000-byte path"] == "ok", lines
    r = node.kvrail("verify", "q", "nobody")
    assert r.returncode == 1 and "no pod nobody" in r.stderr
    assert node.kvrail("verify", "q", "p", "--listen").returncode == 2


def test_the_name_of_a_pods_interface_moves_no_cursor(node, pod):
    node.start()
    apply(node, NETWORKS)
    r = node.kvrail("attach", "p", "a@n\x1bc1", "--netns", pod("p")[0])
    assert r.returncode == 0, r.stderr
    for command in (["status"], ["top", "--interval", "1"]):
        out = node.kvrail(*command).stdout
        assert "n?c1" in out and "\x1b" not in out, out


def test_top_shows_what_went_by_which_way(node, pod):
    node.start()
    apply(node, NETWORKS)
    bridged(node, "soft0", "soft1")
    names = [pod(name)[1] for name in ("p", "q")]
    for name, full in zip(("p", "q"), names):
        assert node.kvrail("attach", name, "a", "--netns", f"/run/netns/{full}").returncode == 0
    ping = subprocess.Popen(["ip", "netns", "exec", names[0], "ping", "-q", "-i", "0.02", "-s", "8000", "10.9.0.2"], stdout=subprocess.DEVNULL)
    try:
        r = node.kvrail("top", "--interval", "1", "-o", "json")
        table = node.kvrail("top", "--interval", "1", "--pod", "default/q")
    finally:
        ping.kill()
        ping.wait()
    rails = {rail["pod"]: rail for rail in json.loads(r.stdout)["rails"]}
    assert set(rails) == {"p", "q"} and all(rail["tcpTxPerSecond"] > 100_000 and rail["tcpTxBytes"] > 0 for rail in rails.values()), rails
    assert "rdmaTxBytes" not in rails["p"]  # a veth has no RDMA device: not known is not zero
    assert "default/q" in table.stdout and "default/p" not in table.stdout and "B/s" in table.stdout, table.stdout
    assert node.kvrail("top", "--interval", "4000").returncode == 2


def test_a_node_that_no_controller_serves_makes_no_node_state_and_says_so(tmp_path):
    """Else it would come again each time that the controller, after its delay, takes it away."""
    states = "/apis/sriovnetwork.openshift.io/v1/namespaces/kvrail-system/sriovnetworknodestates"
    with FaultServer(Fake()) as server:
        backend = server.backend
        plane = types.SimpleNamespace(port=server.http.server_address[1], kubeconfig=lambda: kubeconfig(tmp_path, server.url),
                                      find=lambda path: backend.objects.get(path))
        with AgentHost(tmp_path, plane, "n1", {"rail": ["d0"]}) as host:

            def unserved():
                return [p for p in host.status()["problems"] if "there is no SriovNetworkNodeState kvrail-system/n1: the controller makes it" in p]

            host.start().wait_ready()
            host.wait_for(unserved, "the problem in the status")
            backend.put(states, "n1", {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState", "spec": {}})
            host.sync("Succeeded")
            host.wait_for(lambda: not host.status()["problems"], "the end of the problem")
            backend.remove(f"{states}/n1")
            host.wait_for(unserved, "the problem in the status")
            assert host.is_ready() and not server.asked("POST", "sriovnetworknodestates")


def test_an_event_that_the_api_server_refuses_is_counted(tmp_path):
    states = "/apis/sriovnetwork.openshift.io/v1/namespaces/kvrail-system/sriovnetworknodestates"
    with FaultServer(Fake()) as server:
        server.fault(Fault(times=1000, status=403), "POST", "/events")
        port = {"pciAddress": "0000:ff:00.0", "numVfs": 1, "vfGroups": []}
        server.backend.put(states, "n1", {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState", "spec": {"interfaces": [port]}})
        plane = types.SimpleNamespace(port=server.http.server_address[1], kubeconfig=lambda: kubeconfig(tmp_path, server.url))
        with AgentHost(tmp_path, plane, "n1", {"rail": ["d0"]}) as host:
            host.start().wait_ready()
            host.wait_for(lambda: "kvrail_events_dropped_total 1\n" in host.http("GET", "/metrics")[1], "the count of the event ProvisioningFailed")
