# SPDX-License-Identifier: Apache-2.0
"""ADD, DEL and what comes between, in real namespaces; the devices are veths of a namespace of the test's own."""
import json
import os
import pathlib
import signal
import subprocess
import time
import uuid

import pytest

SOURCE = pathlib.Path(os.environ.get("KVRAIL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
DRIVER = SOURCE / os.environ.get("KVRAIL_BUILD", "build-asan") / "test/system/attach_driver"

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
              pytest.mark.skipif(not DRIVER.exists(), reason=f"{DRIVER} is not built")]

IPAM = {"type": "whereabouts", "range": "10.77.0.0/24"}
CONF = {"cniVersion": "1.1.0", "name": "rail", "type": "kvrail", "resourceName": "test/soft", "mtu": 9000, "ipam": IPAM}


def ip(*args, ns=None, check=True):
    r = subprocess.run(["ip", *(["-n", ns] if ns else []), *args], capture_output=True, text=True)
    assert not check or r.returncode == 0, r.stderr
    return r.stdout


def links(ns):
    return {link["ifname"]: link for link in json.loads(ip("-j", "addr", ns=ns) or "[]")}


class Node:
    """A "host" namespace with veths d0.. (their other ends, up, in a third one), pod namespaces, and a state folder."""

    def __init__(self, path, devices=2, pods=1):
        tag = uuid.uuid4().hex[:8]
        self.state, self.host, self.pods = path, f"kvh-{tag}", [f"kvp-{tag}-{i}" for i in range(pods)]
        self.pod, self.far = self.pods[0], f"kvf-{tag}"
        self.devices = [f"d{i}" for i in range(devices)]
        for ns in [self.host, self.far, *self.pods]:
            ip("netns", "add", ns)
        for i, d in enumerate(self.devices):
            ip("link", "add", d, "address", f"02:00:00:00:00:{i:02x}", "mtu", "1500", "type", "veth", "peer", "name", d, "netns", self.far,
               ns=self.host)
            ip("link", "set", d, "up", ns=self.far)
        self.before = self.host_links()
        (path / "nads").mkdir()

    def close(self):
        for ns in [self.host, self.far, *self.pods]:
            ip("netns", "del", ns, check=False)

    def host_links(self):
        return {n: (v["address"], v["mtu"]) for n, v in links(self.host).items() if n != "lo"}

    def nad(self, name, conf, ns="llm"):
        (self.state / "nads" / f"{ns}.{name}.json").write_text(conf if isinstance(conf, str) else json.dumps(conf))

    def driver(self, *args, stdin="", env=None, check=True):
        r = subprocess.run(["ip", "netns", "exec", self.host, str(DRIVER), str(self.state), *args], input=stdin, capture_output=True,
                           text=True, timeout=120, env={**os.environ, "KVRAIL_TEST_DEVICES": " ".join(self.devices), **(env or {})})
        assert "Sanitizer" not in r.stderr, r.stderr
        assert not check or r.returncode == 0, (r.stdout, r.stderr)
        return r

    def cni(self, command, conf=CONF, container="c1", ifname="net1", pod=None, crash=None, check=True, args=None, env=None):
        env = {**(env or {}), "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": ifname, "CNI_PATH": "/opt/cni/bin",
               "CNI_NETNS": f"/run/netns/{pod or self.pod}",
               "CNI_ARGS": f"IgnoreUnknown=true;K8S_POD_NAMESPACE=llm;K8S_POD_NAME={args or container};K8S_POD_UID=u-1"}
        if crash:
            env["KVRAIL_CRASH_AT"] = crash
        r = self.driver("request", stdin=conf if isinstance(conf, str) else json.dumps(conf), env=env, check=False)
        r.json = json.loads(r.stdout) if r.stdout else None
        if check:
            assert r.returncode == 0, (r.stdout, r.stderr)
        return r

    def list(self):
        return json.loads(self.driver("list").stdout)

    def leases(self):
        return self.driver("leases").stdout.splitlines()

    def journal(self):
        d = self.state / "attach"
        return sorted(p.name for p in d.iterdir()) if d.exists() else []

    def assert_clean(self):
        assert self.host_links() == self.before
        assert self.journal() == [] and self.list() == [] and self.leases() == []
        for pod in self.pods:
            assert set(links(pod)) <= {"lo"}


@pytest.fixture
def node(tmp_path):
    n = Node(tmp_path)
    yield n
    n.close()


def test_add_gives_the_pod_its_rail_and_del_takes_all_of_it_back(node):
    r = node.cni("ADD", {**CONF, "mac": "02:00:5e:10:00:01"}).json
    assert r["cniVersion"] == "1.1.0"
    assert r["interfaces"] == [{"name": "net1", "mac": "02:00:5e:10:00:01", "mtu": 9000, "sandbox": f"/run/netns/{node.pod}"}]
    assert [i["interface"] for i in r["ips"]] == [0]
    link = links(node.pod)["net1"]
    assert link["mtu"] == 9000 and "UP" in link["flags"] and link["address"] == "02:00:5e:10:00:01"
    assert [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == "inet"] == [r["ips"][0]["address"]]
    a, = node.list()
    assert a["state"] == "ready" and a["container"] == "c1" and a["pod"] == {"namespace": "llm", "name": "c1", "uid": "u-1"}
    assert a["rails"][0]["ifname"] == "net1" and a["rails"][0]["addresses"] == [r["ips"][0]["address"]]
    assert node.journal() == ["c1-net1.json"]
    node.cni("CHECK", {**CONF, "prevResult": r})
    assert node.cni("DEL").stdout == ""
    node.assert_clean()


def test_del_is_repeatable_and_of_an_unknown_container_succeeds(node):
    node.cni("ADD")
    node.cni("DEL")
    node.cni("DEL")
    node.cni("DEL", container="never-seen")
    node.assert_clean()


def test_several_networks_are_one_add_with_one_result(node):
    node.nad("a", {"cniVersion": "1.0.0", "name": "a", "type": "sriov", "vlan": 0, "spoofchk": "off", "trust": "on", "ipam": IPAM})
    node.nad("b", {"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "sriov", "vlan": 0, "ipam": IPAM}, {"type": "tuning", "mtu": 4000}]},
             ns="other")
    r = node.cni("ADD", {"cniVersion": "1.0.0", "name": "pod", "type": "kvrail", "networks": "a, other/b@rail1"}).json
    assert [i["name"] for i in r["interfaces"]] == ["net1", "rail1"] and "mtu" not in r["interfaces"][0]
    assert [i["interface"] for i in r["ips"]] == [0, 1]
    assert len({i["address"] for i in r["ips"]}) == 2
    assert links(node.pod)["rail1"]["mtu"] == 4000
    assert [x["network"] for x in node.list()[0]["rails"]] == ["llm/a", "other/b"]
    node.cni("DEL", {"cniVersion": "1.0.0", "name": "pod", "type": "kvrail", "networks": "a, other/b@rail1"})
    node.assert_clean()


def test_a_tuning_plugin_sets_sysctls_of_the_pods_network(node):
    def tuned(**sysctl):
        return {"cniVersion": "1.0.0", "name": "t", "plugins": [{"type": "sriov", "ipam": IPAM}, {"type": "tuning", "sysctl": sysctl}]}

    def value(path):
        return subprocess.run(["ip", "netns", "exec", node.pod, "cat", f"/proc/sys/net/{path}"], capture_output=True, text=True).stdout.split()

    node.nad("t", tuned(**{"net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv4/ip_local_port_range": "5000 6000"}))
    conf = {"cniVersion": "1.0.0", "name": "pod", "type": "kvrail", "networks": "t"}
    node.cni("ADD", conf)
    assert value("core/somaxconn") == ["500"] and value("ipv4/conf/net1/arp_filter") == ["1"]
    assert value("ipv4/ip_local_port_range") == ["5000", "6000"] and value("ipv4/conf/all/arp_filter") == ["0"]
    node.cni("DEL", conf)
    node.assert_clean()
    for key, says in [("net.core.nothing", "sysctl net.core.nothing: this kernel has none"), ("kernel.panic", "is none of the network"),
                      ("net.core.somaxconn", 'sysctl net.core.somaxconn: setting "many"')]:
        node.nad("t", tuned(**{key: "many"}))
        r = node.cni("ADD", conf, check=False)
        assert r.returncode == 1 and says in r.json["msg"], r.stdout
        node.assert_clean()


def test_cni_args_ask_for_a_mac_over_the_configurations(node):
    conf = {**CONF, "mac": "02:00:5e:00:00:01"}
    assert node.cni("ADD", conf, args="c1;MAC=02:00:5e:00:00:02").json["interfaces"][0]["mac"] == "02:00:5e:00:00:02"
    node.cni("DEL", conf)
    conf["runtimeConfig"] = {"mac": "02:00:5e:00:00:03"}
    assert node.cni("ADD", conf, args="c1;MAC=02:00:5e:00:00:02").json["interfaces"][0]["mac"] == "02:00:5e:00:00:03"
    node.cni("DEL", conf)
    node.assert_clean()


def test_one_rail_that_cannot_be_had_leaves_nothing_of_the_others(node):
    node.nad("a", {"cniVersion": "1.0.0", "name": "a", "type": "sriov", "ipam": IPAM})
    node.nad("b", {"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "sriov", "ipam": IPAM}, {"type": "tuning", "mtu": 65000}]})
    node.nad("tiny", {"cniVersion": "1.0.0", "name": "t", "type": "sriov", "ipam": {"type": "whereabouts", "range": "10.78.0.0/30",
                                                                                "exclude": ["10.78.0.0/30"]}})
    conf = {"cniVersion": "1.0.0", "name": "pod", "type": "kvrail"}
    for networks, says in [("a,a,a", "no device"), ("a,missing", "llm/missing"), ("a,tiny", "10.78.0.0"), ("a,a@net1", "net1")]:
        r = node.cni("ADD", {**conf, "networks": networks}, check=False)
        assert r.returncode == 1 and says in r.json["msg"], r.stdout
        node.assert_clean()


def test_a_failure_within_the_pod_is_undone(node):
    node.nad("a", {"cniVersion": "1.0.0", "name": "a", "type": "sriov", "ipam": IPAM})
    node.nad("b", {"cniVersion": "1.0.0", "name": "b", "type": "sriov",
                   "ipam": {**IPAM, "routes": [{"dst": "10.99.0.0/24", "gw": "192.0.2.1"}]}})  # a gateway that is not on the link
    r = node.cni("ADD", {"cniVersion": "1.0.0", "name": "pod", "type": "kvrail", "networks": "a,b"}, check=False)
    assert r.returncode == 1 and "10.99.0.0/24" in r.json["msg"]
    node.assert_clean()


def test_a_second_add_and_an_interface_that_exists_are_refused(node):
    node.cni("ADD")
    r = node.cni("ADD", check=False)
    assert r.returncode == 1 and "already" in r.json["msg"]
    r = node.cni("ADD", ifname="net1", container="c2", check=False)  # another sandbox id, the same namespace
    assert r.returncode == 1 and "net1 already" in r.json["msg"]
    node.cni("DEL")
    node.assert_clean()


def test_a_device_is_never_given_twice(tmp_path):
    node = Node(tmp_path, devices=1, pods=2)
    try:
        node.cni("ADD")
        r = node.cni("ADD", container="c2", pod=node.pods[1], check=False)
        assert r.returncode == 1 and r.json["code"] == 11
        node.cni("DEL")
        node.cni("ADD", container="c2", pod=node.pods[1])
        node.cni("DEL", container="c2", pod=node.pods[1])
        node.assert_clean()
    finally:
        node.close()


def test_check_finds_what_somebody_changed(node):
    node.cni("ADD")
    ip("link", "set", "net1", "mtu", "1500", ns=node.pod)
    r = node.cni("CHECK", check=False)
    assert r.returncode == 1 and "MTU is 1500" in r.json["msg"]
    ip("link", "set", "net1", "mtu", "9000", ns=node.pod)
    ip("addr", "flush", "dev", "net1", ns=node.pod)
    assert "10.77.0." in node.cni("CHECK", check=False).json["msg"]
    assert node.cni("CHECK", container="c9", check=False).json["code"] == 3


STEPS = subprocess.run([DRIVER, "/", "steps"], capture_output=True, text=True).stdout.split() if DRIVER.exists() else []
CLUSTER = {"add-delegate", "add-default-route", "add-cdi", "add-status", "del-cdi", "del-delegate"}  # of pods in a cluster: test_meta.py
RDMA_STEPS = {"add-rdma-move", "add-rxe", "add-rxe-move", "del-rxe", "del-rdma-move"}  # need RDMA: the lab has it


def every_step():
    for s in STEPS:
        if s not in RDMA_STEPS | CLUSTER:
            yield s
            if s not in {"add-journal", "add-allocate", "add-ready", "del-journal", "del-release", "del-forget"}:
                yield s + "#1"


@pytest.mark.parametrize("step", every_step())
def test_a_kill_at_every_step_loses_nothing(node, step):
    node.nad("a", {"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "sriov", "ipam": IPAM}, {"type": "tuning", "mtu": 9000}]})
    conf = {"cniVersion": "1.0.0", "name": "pod", "type": "kvrail", "networks": "a,a"}
    verb = "ADD" if step.startswith("add-") else "DEL"
    if verb == "DEL":
        node.cni("ADD", conf)
    r = node.cni(verb, conf, crash=step, check=False)
    assert r.returncode == -signal.SIGKILL, (r.returncode, r.stdout, r.stderr)
    node.driver("recover")
    if step == "del-journal":  # killed before the journal knew of the DEL: the runtime asks again
        assert node.list()[0]["state"] == "ready"
        node.cni("DEL", conf)
    node.assert_clean()
    node.cni("ADD", conf)
    node.cni("DEL", conf)
    node.assert_clean()


def test_a_pod_that_died_without_del_is_cleaned_at_the_next_start(node):
    node.cni("ADD")
    ip("netns", "del", node.pod)
    node.driver("recover")
    assert node.list() == [] and node.leases() == [] and node.journal() == []


def test_a_device_whose_names_are_taken_comes_back_under_a_free_one(node):
    node.cni("ADD")
    device, = [d for d in node.devices if d not in node.host_links()]
    for name in (device, "net1"):
        ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-", ns=node.host)
    node.cni("DEL")
    assert "net1" not in links(node.pod) and [n for n in node.host_links() if n.startswith("kvrail")] and node.list() == []


def test_a_path_that_names_another_namespace_by_now_is_left_alone(node):
    node.cni("ADD")
    ip("netns", "del", node.pod)
    ip("netns", "add", node.pod)
    ip("link", "add", "net1", "type", "veth", "peer", "name", "x", ns=node.pod)
    node.cni("DEL")
    assert "net1" in links(node.pod) and node.list() == []


@pytest.mark.skipif(tuple(int(n) for n in os.uname().release.split(".")[:2]) < (5, 14), reason="a namespace has a cookie from Linux 5.14 on")
@pytest.mark.parametrize("ends", ["DEL", "recover"])
def test_a_namespace_that_got_path_and_inode_of_a_pods_is_left_alone(node, ends):
    """The kernel gives an inode's number again at once. Here the journal is made to have it."""
    node.cni("ADD")
    ip("netns", "del", node.pod)
    ip("netns", "add", node.pod)
    ip("link", "add", "net1", "type", "veth", "peer", "name", "x", ns=node.pod)
    journal, = (node.state / "attach").iterdir()
    text, st = json.loads(journal.read_text()), os.stat(f"/run/netns/{node.pod}")
    text["attachment"]["netnsId"] = f"{st.st_dev}:{st.st_ino}"
    journal.write_text(json.dumps(text))
    node.cni("DEL") if ends == "DEL" else node.driver("recover")
    assert "net1" in links(node.pod) and node.list() == [] and node.leases() == []


def test_a_vf_that_user_space_drives_is_looked_for_where_it_stays(node):
    devices = node.state / "root/sys/bus/pci/devices/0000:01:10.0"
    devices.mkdir(parents=True)
    (devices / "driver").symlink_to("../../../../drivers/vfio-pci")
    for driver in ("vfio-pci", "igbvf"):
        (node.state / "root/sys/drivers" / driver).mkdir(parents=True)
    root = {"KVRAIL_TEST_ROOT": str(node.state / "root")}
    rail = {"network": "llm/dpdk", "ifname": "net1", "resource": "dpdk", "vf": "0000:01:10.0", "vfIndex": 0, "addresses": ["10.77.0.1/24"],
            "driver": "vfio-pci", "mac": "02:00:5e:10:00:01", "mtu": 9000, "found": {}, "set": {}}
    (node.state / "attach").mkdir()
    (node.state / "attach/c1-net1.json").write_text(json.dumps({"version": 1, "attachment": {
        "pod": {"namespace": "llm", "name": "c1", "uid": "u-1"}, "container": "c1", "ifname": "net1", "netns": f"/run/netns/{node.pod}",
        "state": "ready", "rails": [rail]}}))
    assert node.list()[0]["rails"][0]["driver"] == "vfio-pci" and "hostIfname" not in node.list()[0]["rails"][0]
    node.cni("CHECK", env=root)
    (devices / "driver").unlink()
    (devices / "driver").symlink_to("../../../../drivers/igbvf")
    assert "VF 0000:01:10.0 has driver igbvf, it had vfio-pci" in node.cni("CHECK", check=False, env=root).json["msg"]
    (devices / "driver").unlink()
    (devices / "driver").symlink_to("../../../../drivers/vfio-pci")
    before = time.monotonic()
    node.cni("DEL", env=root)  # no interface comes back, and none is waited for
    assert time.monotonic() - before < 4
    node.assert_clean()


def spool(node, name, env, config="e30="):
    d = node.state / "spool"
    d.mkdir(exist_ok=True)
    (d / name).write_text(env if isinstance(env, str) else json.dumps({"env": env, "config": config}))


def test_spooled_dels_are_applied_at_the_next_start(node):
    node.cni("ADD")
    spool(node, "00000000000000000001-7.json", {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "net1"})
    spool(node, "00000000000000000002-7.json", "{cut sh")
    node.driver("recover")
    node.assert_clean()
    assert [p.name for p in (node.state / "spool").iterdir()] == ["00000000000000000002-7.json.corrupt"]


def test_a_spooled_del_frees_its_device_for_the_next_add(tmp_path):
    node = Node(tmp_path, devices=1, pods=2)
    try:
        node.cni("ADD")
        spool(node, "00000000000000000001-7.json", {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "net1"})
        node.cni("ADD", container="c2", pod=node.pods[1])
        node.cni("DEL", container="c2", pod=node.pods[1])
        node.assert_clean()
    finally:
        node.close()


def test_gc_keeps_what_the_runtime_names_and_takes_the_rest(tmp_path):
    node = Node(tmp_path, devices=3, pods=3)
    try:
        for i, pod in enumerate(node.pods):
            node.cni("ADD", {**CONF, "name": "other" if i == 2 else "rail"}, container=f"c{i}", pod=pod)
        node.cni("GC", {**CONF, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "net1"}]})
        assert sorted(a["container"] for a in node.list()) == ["c1", "c2"]
        assert node.cni("GC", CONF, check=False).json["code"] == 7
        assert len(node.list()) == 2
    finally:
        node.close()


@pytest.mark.parametrize("damage", [lambda t: t[:len(t) // 2], lambda t: "", lambda t: t.replace('"version":1', '"version":"x"'),
                                    lambda t: "[" * 100000])
def test_a_damaged_journal_is_set_aside_and_stops_nobody(node, damage):
    node.cni("ADD")
    f = node.state / "attach/c1-net1.json"
    f.write_text(damage(f.read_text()))
    r = node.driver("recover")
    assert "c1-net1.json" in r.stderr
    assert node.journal() == ["c1-net1.json.corrupt"] and node.list() == []
    node.cni("DEL")
    assert node.leases() == []


def test_a_journal_of_a_newer_version_stays_where_it_is(node):
    node.cni("ADD")
    f = node.state / "attach/c1-net1.json"
    f.write_text(f.read_text().replace('"version":1', '"version":2'))
    node.driver("recover")
    assert node.journal() == ["c1-net1.json"]


def test_a_state_folder_that_cannot_be_written_changes_nothing(node):
    ip("netns", "exec", node.host, "true")
    (node.state / "attach").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "none", node.state / "attach"], check=True)
    try:
        r = node.cni("ADD", check=False)
        assert r.returncode == 1 and "journal" in r.json["msg"] and "space" in r.json["msg"], r.stdout
        assert node.host_links() == node.before and node.leases() == []
    finally:
        subprocess.run(["umount", node.state / "attach"], check=True)
    node.assert_clean()


BAD = [
    ({**CONF, "cniVersion": "9.9.9"}, 1, "incompatible CNI versions"),
    ({k: v for k, v in CONF.items() if k != "name"}, 7, "missing network name"),
    ({**CONF, "name": "a b"}, 7, "invalid characters found in network name"),
    ("{", 6, "error unmarshall"),
    ("[" * 5000, 6, "error unmarshall"),
    (json.dumps(CONF)[:-1] + ',"mtu":1}', 6, "mtu"),
    ("[]", 6, "error unmarshall"),
    ('{"x":"' + "y" * (1 << 20) + '"}', 6, "error unmarshall"),
    ({**CONF, "type": "macvlan"}, 7, "macvlan"),
    ({**CONF, "vlan": 4095}, 7, "vlan"),
    ({**CONF, "vlan": 0, "vlanQoS": 3}, 7, "vlanQoS"),
    ({**CONF, "spoofchk": "maybe"}, 7, "spoofchk"),
    ({**CONF, "link_state": "up"}, 7, "link_state"),
    ({**CONF, "mac": "02:00"}, 7, "mac"),
    ({**CONF, "mac": "01:00:5e:10:00:01"}, 7, "multicast"),
    ({**CONF, "min_tx_rate": 10, "max_tx_rate": 5}, 7, "min_tx_rate"),
    ({**CONF, "ipam": {"type": "whereabouts", "range": "10.77.0.0"}}, 7, "range"),
    ({"cniVersion": "1.0.0", "name": "x", "type": "sriov"}, 7, "VF pci addr is required"),
    ({**CONF, "networks": "a/b/c"}, 7, "networks"),
]


@pytest.mark.parametrize("conf,code,says", BAD, ids=[b[2] for b in BAD])
def test_a_bad_configuration_is_one_clear_error(node, conf, code, says):
    r = node.cni("ADD", conf, check=False)
    assert r.returncode == 1 and r.json["code"] == code, r.stdout
    assert says in r.json["msg"]
    node.assert_clean()


@pytest.mark.parametrize("ifname,says", [("a-name-that-is-too-long", "too long"), ("a/b", "/"), ("..", "..")])
def test_a_bad_interface_name_is_an_invalid_environment(node, ifname, says):
    r = node.cni("ADD", ifname=ifname, check=False)
    assert r.json["code"] == 4 and says in r.json["msg"]


def test_a_namespace_path_that_is_none_is_refused(node, tmp_path):
    for path in "/etc/passwd", "/nonexistent", "/proc/1/ns/pid":
        env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "net1", "CNI_PATH": "/p", "CNI_NETNS": path}
        r = node.driver("request", stdin=json.dumps(CONF), env=env, check=False)
        assert r.returncode == 1 and json.loads(r.stdout)["code"] == 8 and path in r.stdout
    r = node.driver("request", stdin=json.dumps(CONF), env={**env, "CNI_NETNS": "/proc/self/ns/net"}, check=False)
    assert json.loads(r.stdout)["code"] == 8
    node.assert_clean()


def test_missing_variables_are_listed(node):
    r = node.driver("request", stdin=json.dumps(CONF), env={"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1"}, check=False)
    e = json.loads(r.stdout)
    assert e["code"] == 4 and e["msg"] == "required env variables [CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"


def test_parallel_adds_and_dels_leak_nothing(tmp_path):
    node = Node(tmp_path, devices=8, pods=8)
    try:
        node.driver("storm", "6", *[f"/run/netns/{p}" for p in node.pods])
        node.assert_clean()
    finally:
        node.close()
