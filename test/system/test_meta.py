# SPDX-License-Identifier: Apache-2.0
"""ADD and DEL of the meta plugin in real namespaces: Debian's CNI plugins make the default network, veths stand for VFs, files for the cluster."""
import base64
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess

import pytest

from test_attach import DRIVER, IPAM, Node, ip, links

PLUGINS = "/usr/lib/cni"

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
              pytest.mark.skipif(not DRIVER.exists(), reason=f"{DRIVER} is not built"),
              pytest.mark.skipif(not pathlib.Path(PLUGINS, "bridge").exists(), reason=f"{PLUGINS} has no plugins (containernetworking-plugins)")]

RAIL = {"cniVersion": "1.0.0", "name": "rail", "plugins": [{"type": "sriov", "ipam": IPAM}, {"type": "tuning", "mtu": 9000}]}


class Cluster(Node):
    def __init__(self, path, **kw):
        super().__init__(path, **kw)
        ip("link", "set", "lo", "up", ns=self.host)
        # with an address of its own: bridge gives it one with the first pod, and fails ever after if it is killed between that pod's port and the address
        ip("link", "add", "cbr0", "address", "02:00:00:00:01:00", "type", "bridge", ns=self.host)
        for d in ("pods", "conf", "status", "cni", "plugins"):
            (path / d).mkdir()
        self.bin = f"{path}/plugins:{PLUGINS}"
        self.default = {"cniVersion": "1.0.0", "name": "cbr0", "plugins": [
            {"type": "bridge", "bridge": "cbr0", "isGateway": True, "ipam": {
                "type": "host-local", "dataDir": f"{path}/host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "tuning", "capabilities": {"mac": True}}]}
        self.conf = {"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus-shim", "clusterNetwork": f"{path}/conf/10-cbr0.conflist"}
        self.put_default()
        for i, name in enumerate(["a", "b"]):
            self.nad(name, {**RAIL, "name": name})
        self.make_pod()

    def put_default(self):
        (self.state / "conf" / "10-cbr0.conflist").write_text(json.dumps(self.default))

    def nad(self, name, conf, ns="llm", resource=None):
        super().nad(name, conf, ns)
        text = conf if isinstance(conf, str) else json.dumps(conf)
        ours = '"sriov"' in text or '"kvrail"' in text
        (self.state / "nads" / f"{ns}.{name}.resource").write_text(resource if resource is not None else "test/soft" if ours else "")

    def make_pod(self, networks="a,b", name="c1", ns="llm", devices=None, annotations=None, containers=None):
        if containers is None:
            containers = [{"name": "main", "env": ["UCX_TLS"], "devices": {"test/soft": self.devices if devices is None else devices}}]
        a = {**({"k8s.v1.cni.cncf.io/networks": networks} if networks is not None else {}), **(annotations or {})}
        (self.state / "pods" / f"{ns}.{name}.json").write_text(json.dumps({"uid": "u-1", "annotations": a, "containers": containers}))

    def driver(self, *args, env=None, **kw):
        return super().driver(*args, env={"KVRAIL_TEST_CLUSTER": "1", "KVRAIL_TEST_BIN": self.bin, **(env or {})}, **kw)

    def cni(self, command, conf=None, ifname="eth0", env=None, **kw):
        return super().cni(command, conf or self.conf, ifname=ifname, **kw)

    def status(self, name="llm.c1"):
        return json.loads((self.state / "status" / name).read_text())

    def events(self):
        f = self.state / "events"
        return f.read_text().splitlines() if f.exists() else []

    def plugin(self, name, script):
        p = self.state / "plugins" / name
        p.write_text(script)
        p.chmod(0o755)

    def host_links(self):
        return {n: v for n, v in super().host_links().items() if n != "cbr0"}

    def files(self, *parts):
        d = self.state.joinpath(*parts)
        return sorted(p.name for p in d.iterdir()) if d.exists() else []

    def assert_clean(self):
        super().assert_clean()
        assert self.files("cdi") == [] and self.files("env") == [] and self.files("cni", "results") == []
        assert [n for n in self.files("host-local", "cbr0") if n[0].isdigit()] == []


@pytest.fixture
def node(tmp_path):
    n = Cluster(tmp_path)
    yield n
    n.close()


@pytest.fixture
def two_pods(tmp_path):
    n = Cluster(tmp_path, pods=2)
    yield n
    n.close()


def b64(text):
    return base64.b64encode(text.encode()).decode()


def addresses(link, family="inet"):
    return [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == family]


def test_a_pod_gets_the_default_network_and_its_rails(node):
    r = node.cni("ADD").json
    pod = links(node.pod)
    assert set(pod) == {"lo", "eth0", "net1", "net2"}
    # the result is the default network's, in the version that was asked for
    assert r["cniVersion"] == "1.0.0" and [i["name"] for i in r["interfaces"]][0] == "cbr0" and r["ips"][0]["address"] == addresses(pod["eth0"])[0]
    assert r["interfaces"][r["ips"][0]["interface"]]["name"] == "eth0"
    assert pod["net1"]["mtu"] == 9000 and addresses(pod["net1"])[0].startswith("10.77.0.")
    a, = node.list()
    assert [x["network"] for x in a["rails"]] == ["llm/a", "llm/b"] and a["delegates"][0]["network"] == "cbr0" and "conf" not in a["delegates"][0]
    assert a["delegates"][0]["addresses"] == addresses(pod["eth0"])
    node.cni("CHECK", {**node.conf, "prevResult": r})
    node.cni("DEL")
    node.assert_clean()


BESIDE = """#!/bin/sh
rail() { nsenter --net=$CNI_NETNS ip -o $1 show net1 2>/dev/null; }
if [ $CNI_COMMAND = ADD ]; then
	for i in $(seq 100); do rail link >/dev/null && break; sleep 0.1; done
	rail link >/dev/null && echo "ADD: the rail is there" >>LOG
	sleep 0.5
	rail addr | grep -q "inet " && echo "ADD: the rail has its address first" >>LOG
	echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"x"}],"ips":[{"address":"10.88.0.9/16","interface":0}]}'
else
	for i in $(seq 100); do rail link >/dev/null || break; sleep 0.1; done
	rail link >/dev/null || echo "DEL: the rail is gone" >>LOG
fi
"""


def test_the_default_networks_plugin_works_while_rails_are_moved_but_is_done_before_they_have_addresses(node):
    node.plugin("beside", BESIDE.replace("LOG", str(node.state / "log")))
    node.default["plugins"] = [{"type": "beside"}]
    node.put_default()
    node.cni("ADD")
    assert addresses(links(node.pod)["net1"])
    node.cni("DEL")
    node.assert_clean()
    assert (node.state / "log").read_text().splitlines() == ["ADD: the rail is there", "DEL: the rail is gone"]
    node.plugin("beside", "#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\necho '{\"cniVersion\":\"1.0.0\",\"code\":103,\"msg\":\"no\",\"details\":\"away\"}'; exit 1\n")
    r = node.cni("ADD", check=False).json
    assert r["code"] == 103 and 'plugin "beside": no; away' in r["msg"]
    node.assert_clean()


def test_a_new_sandbox_takes_over_what_one_that_was_never_deleted_holds(tmp_path):
    """A runtime that is killed while it makes a sandbox forgets it: no DEL comes, and the kubelet makes the pod another one."""
    node = Cluster(tmp_path, pods=2)
    try:
        node.cni("ADD")
        new = dict(container="c2", args="c1", pod=node.pods[1])  # another sandbox of the same pod
        node.cni("ADD", **new)
        assert {"net1", "net2"} <= set(links(node.pods[1])) and not {"net1", "net2"} & set(links(node.pod))
        assert {a["container"] for a in node.list()} == {"c2"}
        node.cni("DEL")  # late: changes nothing
        assert {"net1", "net2"} <= set(links(node.pods[1]))
        node.cni("DEL", **new)
        assert not node.list()
    finally:
        node.close()


def test_network_status_has_the_form_and_the_facts(node):
    node.cni("ADD")
    pod = links(node.pod)
    text = (node.state / "status/llm.c1").read_text()
    assert text.startswith('[{\n    "name": "cbr0",\n    "interface": "eth0",\n    "ips": [\n        "10.88.0.') and text.endswith("}]") and "},{\n" in text
    default, one, two = node.status()
    assert default["default"] is True and default["gateway"] == ["10.88.0.1"] and default["mac"] == pod["eth0"]["address"] and default["dns"] == {}
    assert one == {"name": "llm/a", "interface": "net1", "ips": [addresses(pod["net1"])[0].split("/")[0]], "mac": pod["net1"]["address"], "mtu": 9000,
                   "dns": {}}
    assert two["name"] == "llm/b" and "default" not in two
    event, = node.events()
    assert event.startswith("llm/c1 Normal AddedInterface: Add eth0 [10.88.0.") and "; net1 [10.77.0." in event and "from llm/a" in event


def test_a_status_that_waits_for_the_api_server_outlives_the_agent(node, monkeypatch):
    monkeypatch.setenv("KVRAIL_TEST_AWAY", "1")
    node.cni("ADD")
    assert node.files("status") == [] and "lateStatus" not in node.list()[0]
    monkeypatch.delenv("KVRAIL_TEST_AWAY")
    node.driver("recover")
    assert [(s["name"], s["interface"]) for s in node.status()] == [("cbr0", "eth0"), ("llm/a", "net1"), ("llm/b", "net2")]
    node.cni("DEL")
    node.assert_clean()


def test_results_are_cached_as_libcni_does(node):
    node.cni("ADD")
    name, = node.files("cni", "results")
    assert name == "cbr0-c1-eth0"
    c = json.loads((node.state / "cni/results" / name).read_text())
    assert c["kind"] == "cniCacheV1" and c["containerId"] == "c1" and c["ifName"] == "eth0" and c["networkName"] == "cbr0"
    assert ["K8S_POD_NAME", "c1"] in c["cniArgs"] and c["cniArgs"][0] == ["IgnoreUnknown", "true"] and c["netns"] == f"/run/netns/{node.pod}"
    assert json.loads(base64.b64decode(c["config"]))["plugins"][0]["type"] == "bridge"
    assert c["result"]["ips"][0]["address"].startswith("10.88.0.")


def test_other_makers_networks_are_delegated_with_what_was_asked_for(node):
    node.nad("br", {"cniVersion": "0.3.1", "type": "bridge", "bridge": "br9", "capabilities": {"mac": True, "ips": True},
                    "ipam": {"type": "static"}}, resource="")
    node.make_pod(json.dumps([{"name": "a"}, {"name": "br", "interface": "side0", "mac": "02:00:5e:10:00:09", "ips": ["10.99.0.7/24"]}]),
                  devices=["d0"])
    node.cni("ADD")
    pod = links(node.pod)
    assert set(pod) == {"lo", "eth0", "net1", "side0"}
    assert pod["side0"]["address"] == "02:00:5e:10:00:09" and addresses(pod["side0"]) == ["10.99.0.7/24"]
    assert [(s["name"], s["interface"]) for s in node.status()] == [("cbr0", "eth0"), ("llm/a", "net1"), ("llm/br", "side0")]
    assert node.files("cni", "results") == ["br-c1-side0", "cbr0-c1-eth0"]
    node.cni("DEL")
    ip("link", "del", "br9", ns=node.host)
    node.assert_clean()


def test_a_sandbox_of_no_pod_and_a_pod_without_annotation_get_the_default_network(node):
    node.make_pod(None, name="c2")
    node.cni("ADD", container="c2")
    assert set(links(node.pod)) == {"lo", "eth0"}
    node.cni("DEL", container="c2")
    node.assert_clean()
    env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c3", "CNI_IFNAME": "eth0", "CNI_PATH": PLUGINS, "CNI_NETNS": f"/run/netns/{node.pod}"}
    node.driver("request", stdin=json.dumps(node.conf), env=env)
    assert set(links(node.pod)) == {"lo", "eth0"}
    node.driver("request", stdin=json.dumps(node.conf), env={**env, "CNI_COMMAND": "DEL"})
    node.assert_clean()


def test_the_pod_can_choose_its_default_network(node):
    node.nad("other", {"cniVersion": "0.4.0", "type": "bridge", "bridge": "br8", "ipam": {"type": "static", "addresses": [{"address": "10.98.0.4/24"}]}},
             ns="kube-system")
    node.make_pod("a", devices=["d0"], annotations={"v1.multus-cni.io/default-network": "other"})
    r = node.cni("ADD").json
    assert r["ips"][0]["address"] == "10.98.0.4/24" and addresses(links(node.pod)["eth0"]) == ["10.98.0.4/24"]
    assert node.status()[0]["name"] == "kube-system/other"
    node.cni("DEL")
    ip("link", "del", "br8", ns=node.host)
    node.assert_clean()
    node.make_pod("a", annotations={"v1.multus-cni.io/default-network": "other,other"})
    assert "it names 2 networks" in node.cni("ADD", check=False).json["msg"]


def test_a_network_can_have_the_default_route(node):
    node.make_pod(json.dumps([{"name": "a", "default-route": ["10.77.0.254"]}]), devices=["d0"])
    r = node.cni("ADD").json
    routes = json.loads(ip("-j", "route", "show", "default", ns=node.pod))
    assert [(x["dev"], x["gateway"]) for x in routes] == [("net1", "10.77.0.254")]
    assert [x for x in r.get("routes", []) if x["dst"] == "0.0.0.0/0"] == []
    assert [s.get("gateway") for s in node.status()] == [None, ["10.77.0.254"]]
    node.cni("CHECK")
    node.cni("DEL")
    node.assert_clean()
    node.make_pod(json.dumps([{"name": "a", "default-route": ["10.77.0.254"]}, {"name": "b", "default-route": ["10.77.0.253"]}]))
    assert "both give an IPv4 gateway" in node.cni("ADD", check=False).json["msg"]


def test_the_default_route_of_another_makers_network_is_what_its_check_and_the_status_see(node):
    node.nad("br", {"cniVersion": "1.0.0", "type": "bridge", "bridge": "cbr0", "ipam": {"type": "static", "routes": [{"dst": "0.0.0.0/0"}], "addresses": [
        {"address": "10.99.0.7/24", "gateway": "10.99.0.1"}]}}, resource="")
    node.make_pod(json.dumps([{"name": "br", "default-route": ["10.99.0.254"]}]), devices=[])
    node.cni("ADD")
    routes = json.loads(ip("-j", "route", "show", "default", ns=node.pod))
    assert [(x["dev"], x["gateway"]) for x in routes] == [("net1", "10.99.0.254")]
    cached = json.loads((node.state / "cni/results/br-c1-net1").read_text())["result"]
    assert cached["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.99.0.254"}]
    assert [s.get("gateway") for s in node.status()] == [None, ["10.99.0.254"]]
    node.cni("CHECK")
    node.cni("DEL")
    node.assert_clean()


def test_another_makers_network_does_without_a_device_and_one_that_is_no_pci_function_is_not_told_as_one(node):
    conf = {"cniVersion": "1.0.0", "type": "bridge", "bridge": "cbr0", "ipam": {"type": "static", "addresses": [{"address": "10.99.0.7/24"}]}}
    node.nad("mark", conf, resource="ovs-cni.network.kubevirt.io/br1")
    node.nad("tap", {**conf, "ipam": {"type": "static", "addresses": [{"address": "10.99.0.8/24"}]}}, resource="macvtap.network.kubevirt.io/eth0")
    node.make_pod("mark,tap", containers=[{"name": "main", "devices": {"macvtap.network.kubevirt.io/eth0": ["eth0Mvp0"]}}])
    node.cni("ADD")
    assert [(s["name"], s["interface"], s.get("device-info")) for s in node.status()[1:]] == [("llm/mark", "net1", None), ("llm/tap", "net2", None)]
    node.cni("DEL")
    node.assert_clean()


def test_cdi_gives_each_container_its_own_devices_and_leaves_what_it_sets(node):
    node.make_pod("a,b", containers=[{"name": "main", "env": ["UCX_TLS"], "devices": {"test/soft": ["d0"]}},
                                     {"name": "side", "devices": {"test/soft": ["d1"], "test/more": ["spare"]}},
                                     {"name": "handed-on", "devices": {"test/soft": ["d0"]}}])
    node.cni("ADD")
    spec = json.loads((node.state / "cdi/kvrail-c1.json").read_text())
    assert spec["kind"] == "kvrail.io/vf" and spec["cdiVersion"] == "0.5.0"
    dev = {d["name"]: d["containerEdits"] for d in spec["devices"]}
    assert sorted(d["name"] for d in spec["devices"]) == ["d0", "d1", "spare"]
    env = {n: dict(e.split("=", 1) for e in dev[n].get("env", [])) for n in dev}
    assert env["d0"]["UCX_NET_DEVICES"] == "net1" and "UCX_TLS" not in env["d0"]  # the container sets it
    assert env["d1"]["UCX_NET_DEVICES"] == "net2" and env["d1"]["UCX_TLS"].startswith("tcp")
    assert env["d0"]["VLLM_NIXL_SIDE_CHANNEL_HOST"] == addresses(links(node.pod)["eth0"])[0].split("/")[0]
    assert env["spare"] == {"KVRAIL_DEVICE": "spare"}
    hook, = spec["containerEdits"]["hooks"]
    assert hook == {"hookName": "createRuntime", "path": "/opt/cni/bin/kvrail-hook", "args": ["kvrail-hook", "memlock"]}
    node.cni("DEL")
    node.assert_clean()


def test_environment_can_be_declined(node):
    node.make_pod("a,b", annotations={"kvrail.io/env": "side, other"}, containers=[
        {"name": "main", "devices": {"test/soft": ["d0"]}}, {"name": "side", "devices": {"test/soft": ["d1"]}}])
    node.cni("ADD")
    dev = {d["name"]: d["containerEdits"] for d in json.loads((node.state / "cdi/kvrail-c1.json").read_text())["devices"]}
    assert len(dev["d0"]["env"]) > 3 and dev["d1"] == {"env": ["KVRAIL_DEVICE=d1"]}


def test_a_specification_left_behind_makes_room(node):
    (node.state / "cdi").mkdir()
    old = {"cdiVersion": "0.5.0", "kind": "kvrail.io/vf", "devices": [{"name": "d1", "containerEdits": {"env": ["A=1"]}}]}
    (node.state / "cdi/kvrail-gone.json").write_text(json.dumps(old))
    (node.state / "cdi/kvrail-other.json").write_text(json.dumps({**old, "devices": [{"name": "d9", "containerEdits": {"env": ["A=1"]}}]}))
    (node.state / "cdi/vendor.json").write_text(json.dumps({**old, "kind": "vendor.com/gpu"}))
    node.cni("ADD")
    assert node.files("cdi") == ["kvrail-c1.json", "kvrail-other.json", "vendor.json"]


def test_without_cdi_there_is_a_file_to_source(node):
    no_cdi = {"KVRAIL_TEST_NO_CDI": "1"}
    os.environ.update(no_cdi)
    try:
        node.cni("ADD")
        assert node.files("env") == ["d0.env", "d1.env"]
        r = subprocess.run(["sh", "-c", f"UCX_TLS=mine; . {node.state}/env/d0.env; env"], capture_output=True, text=True, check=True)
        assert "UCX_NET_DEVICES=net1,net2" in r.stdout and "UCX_TLS=mine" in r.stdout
        node.cni("DEL")
        node.assert_clean()
    finally:
        del os.environ["KVRAIL_TEST_NO_CDI"]


def test_a_pod_that_requires_rdma_does_not_start_with_tcp(node):
    node.make_pod("a", devices=["d0"], annotations={"kvrail.io/rdma": "required"})
    r = node.cni("ADD", check=False)
    assert r.returncode == 1 and "kvrail.io/rdma: required" in r.json["msg"] and "net1 (network llm/a)" in r.json["msg"]
    assert any("Warning AttachFailed" in e and "kvrail.io/rdma" in e for e in node.events())
    node.assert_clean()
    node.make_pod("a", annotations={"kvrail.io/rdma": "required"}, containers=[{"name": "main", "rdma": False, "devices": {"test/soft": ["d0"]}}])
    assert "the policy of resource test/soft has no isRdma: true" in node.cni("ADD", check=False).json["msg"]
    node.assert_clean()
    node.make_pod(None, annotations={"kvrail.io/rdma": "required"})
    assert "no network of the pod is a rail" in node.cni("ADD", check=False).json["msg"]
    node.make_pod("a", devices=["d0"], annotations={"kvrail.io/rdma": "preferred"})
    node.cni("ADD")


def test_what_a_pod_may_not_have_is_told_with_the_way_out(node):
    cases = [("nowhere", "there is no network llm/nowhere"), ("a,,b", "network 2 (character 3)"), ("a,b,a", "network llm/a takes a device of test/soft"),
             ("a,b@net1", "both would be interface net1")]
    for networks, says in cases:
        node.make_pod(networks)
        r = node.cni("ADD", check=False)
        assert r.returncode == 1 and says in r.json["msg"], r.stdout
        node.assert_clean()
    assert any(e.startswith("llm/c1 Warning NoNetworkFound: network llm/nowhere") for e in node.events())
    isolated = {**node.conf, "namespaceIsolation": True}
    node.nad("far", {**RAIL, "name": "far"}, ns="other")
    node.nad("near", {**RAIL, "name": "near"}, ns="default")
    node.make_pod("other/far")
    assert "namespaceIsolation" in node.cni("ADD", isolated, check=False).json["msg"]
    node.make_pod("default/near")
    node.cni("ADD", isolated)
    node.cni("DEL", isolated)
    (node.state / "pods/llm.c1.json").unlink()
    assert node.cni("ADD", check=False).json["code"] == 11
    node.assert_clean()


def test_every_pod_gets_the_default_networks_but_those_of_system_namespaces(node):
    conf = {**node.conf, "defaultNetworks": ["extra"]}
    (node.state / "conf/20-extra.conf").write_text(json.dumps({"cniVersion": "0.4.0", "name": "extra", "type": "bridge", "bridge": "cbr0", "ipam": {
        "type": "static", "addresses": [{"address": "10.97.0.4/24"}]}}))
    node.make_pod("a", devices=["d0"])
    node.cni("ADD", conf)
    assert set(links(node.pod)) == {"lo", "eth0", "net1", "net2"} and addresses(links(node.pod)["net1"]) == ["10.97.0.4/24"]
    node.cni("DEL", conf)
    node.assert_clean()
    system = {**conf, "systemNamespaces": ["llm"]}
    node.cni("ADD", system)
    assert set(links(node.pod)) == {"lo", "eth0", "net1"}


def test_a_delegate_that_hangs_prints_nonsense_or_is_not_there_is_one_clear_error(node):
    node.default["plugins"] = [{"type": "odd"}]
    node.put_default()
    node.make_pod(None)
    r = node.cni("ADD", check=False).json
    assert r["msg"] == f"eth0 (network cbr0): plugin \"odd\" is not found in {node.bin}:/opt/cni/bin: install it there (Debian: " \
                       "containernetworking-plugins has the common ones)"
    cases = [("echo hello; echo why >&2", 'plugin "odd" printed no CNI result', 6),
             ("echo hello; echo why >&2; exit 3", 'ended with status 3 and printed no CNI error: "hello"', 999),
             ("echo why it failed >&2; exit 1", 'ended with status 1: why it failed', 999),
             ("kill -9 $$", "was killed by signal 9", 999), ("exit 0", "succeeded and printed no result", 999),
             ("""echo '{"cniVersion":"1.0.0","code":103,"msg":"no lease","details":"server is away"}'; exit 1""", 'plugin "odd": no lease; server is away', 103),
             ("""echo '{"cniVersion":"1.0.0","ips":[{"address":"x"}]}'""", 'ips[0].address: "x" is no address', 6),
             ("head -c 3000000 /dev/zero | tr '\\0' x", "more than 1048576 bytes", 999)]
    for script, says, code in cases:
        node.plugin("odd", "#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\n" + script + "\n")
        r = node.cni("ADD", check=False)
        assert r.returncode == 1 and says in r.json["msg"] and r.json["code"] == code, r.stdout
        node.assert_clean()
    node.plugin("odd", "#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\necho stuck >&2\nsleep 600\n")
    os.environ["KVRAIL_TEST_TIMEOUT"] = "700"
    try:
        r = node.cni("ADD", check=False).json
    finally:
        del os.environ["KVRAIL_TEST_TIMEOUT"]
    assert r["code"] == 11 and "has not answered ADD within 1 seconds and was killed" in r["msg"] and r["details"] == "stderr: stuck"
    node.assert_clean()
    assert subprocess.run(["pgrep", "-f", f"{node.state}/plugins/odd"], capture_output=True).returncode == 1


def test_a_plugin_that_is_being_copied_is_waited_for(node):
    copy = node.state / "plugins/bridge"
    shutil.copy(f"{PLUGINS}/bridge", copy)
    copy.chmod(copy.stat().st_mode | stat.S_IXUSR)
    node.make_pod(None)
    writer = subprocess.Popen(["sh", "-c", f"exec 3>>{copy}; sleep 1.5"])
    node.cni("ADD")
    writer.wait()
    node.cni("DEL")
    node.assert_clean()


def test_a_failed_network_takes_the_others_back(node):
    node.plugin("odd", "#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\necho '{\"code\":7,\"msg\":\"no\"}'; exit 1\n")
    node.nad("odd", {"cniVersion": "1.0.0", "type": "odd"})
    node.make_pod("a,b,odd")
    r = node.cni("ADD", check=False)
    assert r.json["code"] == 7 and "net3 (network llm/odd)" in r.json["msg"]
    node.assert_clean()


def test_del_tries_all_and_tells_what_failed(node):
    node.plugin("odd", "#!/bin/sh\n[ $CNI_COMMAND = ADD ] && exec echo '{\"cniVersion\":\"1.0.0\"}'\n[ -e " + str(node.state) + "/well ] || { echo sick >&2; exit 1; }\n")
    node.nad("odd", {"cniVersion": "1.0.0", "type": "odd"})
    node.make_pod("a,odd", devices=["d0"])
    node.cni("ADD")
    r = node.cni("DEL", check=False)
    assert r.returncode == 1 and "net2 (network llm/odd): plugin \"odd\" ended with status 1: sick" in r.json["msg"]
    assert node.host_links() == node.before and set(links(node.pod)) == {"lo"}
    (node.state / "well").touch()
    node.driver("recover")
    node.assert_clean()


def start_by_go_multus(node):
    """A pod as Multus leaves it: two interfaces, an address of its rail, and its notes."""
    conf = json.dumps({**node.default, "name": "cbr0"})
    extra = json.dumps({"cniVersion": "0.3.1", "name": "side", "type": "ptp", "ipam": {"type": "host-local", "dataDir": f"{node.state}/host-local",
                                                                                      "subnet": "10.96.0.0/24"}})
    env = {**os.environ, "CNI_CONTAINERID": "old1", "CNI_NETNS": f"/run/netns/{node.pod}", "CNI_PATH": PLUGINS, "CNI_COMMAND": "ADD", "CNI_ARGS": ""}
    bridge = {**node.default["plugins"][0], "name": "cbr0", "cniVersion": "1.0.0"}
    for c, ifname in [(json.dumps(bridge), "eth0"), (extra, "extra0")]:
        subprocess.run(["ip", "netns", "exec", node.host, f"{PLUGINS}/{json.loads(c)['type']}"], input=c, text=True, check=True, capture_output=True,
                       env={**env, "CNI_IFNAME": ifname})
    scratch = [{"Conf": {}, "Name": "cbr0", "Bytes": b64(conf)}, {"Name": "llm/side", "ifnameRequest": "extra0", "Bytes": b64(extra), "ipRequest": None}]
    (node.state / "cni/old1").write_text(json.dumps(scratch))
    assert set(links(node.pod)) == {"lo", "eth0", "extra0"}
    # and an address of its rail, from the pools that both use
    ipam = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "old1", "CNI_IFNAME": "net1", "CNI_PATH": PLUGINS, "CNI_NETNS": f"/run/netns/{node.pod}",
            "CNI_KVRAIL_PLUGIN": "whereabouts", "CNI_ARGS": "K8S_POD_NAMESPACE=llm;K8S_POD_NAME=old"}
    node.driver("request", stdin=json.dumps({"cniVersion": "1.0.0", "name": "rail", "type": "sriov", "ipam": IPAM}), env=ipam)
    assert len(node.leases()) == 1
    return scratch


def test_a_pod_that_go_multus_started_is_torn_down_by_its_notes(node):
    scratch = start_by_go_multus(node)
    # the plugin that moved its VF is called to bring it back; that it fails holds up nothing
    rail = json.dumps({"cniVersion": "1.0.0", "name": "rail", "type": "sriov", "ipam": IPAM})
    (node.state / "cni/old1").write_text(json.dumps([*scratch, {"Name": "llm/rail", "ifnameRequest": "net1", "Bytes": b64(rail)}]))
    node.plugin("sriov", f"#!/bin/sh\ncat >/dev/null; echo $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME >>{node.state}/sriov.log; exit 1\n")
    node.cni("DEL", container="old1")
    assert (node.state / "sriov.log").read_text() == "DEL old1 net1\n"
    assert set(links(node.pod)) == {"lo"} and not (node.state / "cni/old1").exists()
    assert [n for n in node.files("host-local", "side") if n[0].isdigit()] == []
    node.assert_clean()
    (node.state / "cni/old2").write_text("[]")  # upstream crashes on it
    node.cni("DEL", container="old2")
    (node.state / "cni/old3").write_text("{cut sh")
    node.cni("DEL", container="old3")


@pytest.mark.parametrize("contained", [False, True])
def test_a_spooled_del_of_a_pod_that_go_multus_started_undoes_all_that_it_noted(two_pods, contained, monkeypatch):
    node = two_pods
    if contained:
        monkeypatch.setenv("KVRAIL_TEST_CONTAINED", "1")
    start_by_go_multus(node)
    env = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "old1", "CNI_IFNAME": "eth0", "CNI_PATH": PLUGINS, "CNI_NETNS": f"/run/netns/{node.pod}",
           "CNI_KVRAIL_PLUGIN": "kvrail", "CNI_ARGS": "K8S_POD_NAMESPACE=llm;K8S_POD_NAME=old"}
    (node.state / "spool").mkdir()
    (node.state / "spool/00001-7.json").write_text(json.dumps({"env": env, "exec": True, "config": b64(json.dumps(node.conf))}))
    node.driver("recover")
    assert node.leases() == []
    if contained:  # what the plugins need is where the runtime runs them
        assert set(links(node.pod)) == {"lo", "eth0", "extra0"} and node.files("spool") == ["00001-7.notes"]
        node.driver("recover")
        assert node.files("spool") == ["00001-7.notes"]
        node.cni("DEL", container="c2", pod=node.pods[1])
    assert set(links(node.pod)) == {"lo"} and node.files("spool") == [] and not (node.state / "cni/old1").exists()
    node.assert_clean()


def test_dels_that_come_again_succeed(node):
    node.cni("ADD")
    node.cni("DEL")
    node.cni("DEL")
    node.cni("DEL", container="never-seen")
    node.assert_clean()


STEPS = subprocess.run([DRIVER, "/", "steps"], capture_output=True, text=True).stdout.split() if DRIVER.exists() else []
RDMA_STEPS = {"add-rdma-move", "add-rxe", "add-rxe-move", "del-rxe", "del-rdma-move"}
ONCE = {"add-journal", "add-allocate", "add-ready", "add-default-route", "add-cdi", "add-status", "del-journal", "del-cdi", "del-release", "del-forget"}


@pytest.mark.parametrize("step", [x for s in STEPS if s not in RDMA_STEPS for x in ([s] if s in ONCE else [s, s + "#1"])])
def test_a_kill_at_every_step_loses_nothing(node, step):
    node.nad("side", {"cniVersion": "0.4.0", "type": "ptp", "ipam": {"type": "host-local", "dataDir": f"{node.state}/host-local", "subnet": "10.96.0.0/24"}})
    node.make_pod(json.dumps([{"name": "a", "default-route": ["10.77.0.254"]}, {"name": "b"}, {"name": "side"}]))
    verb = "ADD" if step.startswith("add-") else "DEL"
    if verb == "DEL":
        node.cni("ADD")
    r = node.cni(verb, crash=step, check=False)
    assert r.returncode == -signal.SIGKILL, (r.returncode, r.stdout, r.stderr)
    node.driver("recover")
    if step == "del-journal":
        assert node.list()[0]["state"] == "ready"
        node.cni("DEL")
    node.assert_clean()
    assert [n for n in node.files("host-local", "side") if n[0].isdigit()] == []
    node.cni("ADD")
    node.cni("DEL")
    node.assert_clean()


@pytest.mark.parametrize("step", ["add-ready", "del-cdi", "del-delegate", "del-move", "del-release", "del-forget"])
def test_in_a_container_an_end_that_was_cut_short_waits_for_a_request_to_run_plugins(two_pods, step, monkeypatch):
    """What plugins need is where the runtime runs them, and a recovery has no shim. The rails are back meanwhile; the next request ends it."""
    node = two_pods
    monkeypatch.setenv("KVRAIL_TEST_CONTAINED", "1")
    verb = "ADD" if step.startswith("add-") else "DEL"
    if verb == "DEL":
        node.cni("ADD")
    assert node.cni(verb, crash=step, check=False).returncode == -signal.SIGKILL
    for _ in range(2):  # at the start, and as the timer does
        node.driver("recover")
        a, = node.list()
        assert a["state"] == ("adding" if verb == "ADD" else "deleting") and a["rails"] == [] and not a.get("devices") and [d["network"] for d in a["delegates"]] == ["cbr0"]
        assert node.before.items() <= node.host_links().items() and node.leases() == [] and node.files("cdi") == []
    node.make_pod("a,b", name="c2")
    node.cni("ADD", container="c2", pod=node.pods[1])
    assert [a["container"] for a in node.list()] == ["c2"] and "eth0" not in links(node.pod)
    node.cni("DEL", container="c2", pod=node.pods[1])
    node.assert_clean()


@pytest.mark.parametrize("ends", ["its DEL", "the recovery and another pod's request"])
def test_in_a_container_an_add_whose_shim_left_stays_known_until_a_request_undoes_it(two_pods, ends, monkeypatch):
    node = two_pods
    monkeypatch.setenv("KVRAIL_TEST_CONTAINED", "1")
    monkeypatch.setenv("KVRAIL_TEST_LEAVES", "1")
    r = node.cni("ADD", check=False).json
    assert "the runtime gave up on it" in r["msg"] and "DEL waits for the runtime's next request" in r["details"], r
    a, = node.list()
    assert a["state"] == "adding" and "eth0" in links(node.pod) and node.before.items() <= node.host_links().items() and node.leases() == []
    monkeypatch.delenv("KVRAIL_TEST_LEAVES")
    if ends == "its DEL":
        node.cni("DEL")
    else:
        node.driver("recover")
        a, = node.list()
        assert a["state"] == "adding" and a["rails"] == [] and "eth0" in links(node.pod)
        node.cni("DEL", container="c2", pod=node.pods[1])
    assert "eth0" not in links(node.pod)
    node.assert_clean()


def test_a_plugin_that_is_not_there_hides_none_whose_del_failed(node, monkeypatch):
    monkeypatch.setenv("KVRAIL_TEST_CONTAINED", "1")
    monkeypatch.setenv("KVRAIL_TEST_LEAVES", "3")  # within the undo, which begins with the plugin that is not there
    node.default["plugins"].append({"type": "odd"})
    node.put_default()
    r = node.cni("ADD", check=False).json
    assert 'plugin "odd" is not found' in r["msg"] and "the runtime gave up on it" in r["details"] and len(node.list()) == 1, r
    monkeypatch.delenv("KVRAIL_TEST_LEAVES")
    node.plugin("odd", "#!/bin/sh\n")
    node.cni("DEL")
    node.assert_clean()


@pytest.mark.parametrize("ends", ["a recovery", "its DEL, in a container"])
def test_after_a_kill_a_plugin_that_is_not_there_has_still_executed_nothing(node, ends, monkeypatch):
    if ends != "a recovery":
        monkeypatch.setenv("KVRAIL_TEST_CONTAINED", "1")
    node.default["plugins"].append({"type": "odd"})
    node.put_default()
    assert node.cni("ADD", crash="del-delegate", check=False).returncode == -signal.SIGKILL
    node.driver("recover")
    assert ends == "a recovery" or len(node.list()) == 1
    node.cni("DEL")
    node.assert_clean()


def test_an_agent_killed_while_a_plugin_works_takes_it_along(node):
    """A plugin that went on with an ADD while the next agent undoes it would leak."""
    node.plugin("odd", f"#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\ntouch {node.state}/working\nsleep 5\ntouch {node.state}/went-on\n")
    node.default["plugins"] = [{"type": "odd"}]
    node.put_default()
    node.make_pod(None)
    env = {**os.environ, "KVRAIL_TEST_CLUSTER": "1", "KVRAIL_TEST_BIN": node.bin, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0",
           "CNI_PATH": PLUGINS, "CNI_NETNS": f"/run/netns/{node.pod}", "CNI_ARGS": "K8S_POD_NAMESPACE=llm;K8S_POD_NAME=c1;K8S_POD_UID=u-1"}
    p = subprocess.Popen(["ip", "netns", "exec", node.host, str(DRIVER), str(node.state), "request"], stdin=subprocess.PIPE, env=env)
    p.stdin.write(json.dumps(node.conf).encode())
    p.stdin.close()
    for _ in range(500):
        if (node.state / "working").exists():
            break
        subprocess.run(["sleep", "0.02"])
    p.kill()
    p.wait()
    node.driver("recover")
    node.assert_clean()
    subprocess.run(["sleep", "0.2"])
    assert subprocess.run(["pgrep", "-f", f"{node.state}/plugins/odd"], capture_output=True).returncode == 1
    assert not (node.state / "went-on").exists()


def test_status_tells_what_is_missing(node):
    node.conf["cniVersion"] = "1.1.0"
    assert node.cni("STATUS").stdout == ""
    node.default["plugins"] = [{"type": "odd"}]
    node.put_default()
    r = node.cni("STATUS", check=False).json
    assert r["code"] == 50 and '"odd" is not found' in r["msg"]
    (node.state / "conf/10-cbr0.conflist").unlink()
    assert node.cni("STATUS", check=False).json["code"] == 50
    node.plugin("odd", "#!/bin/sh\n[ $CNI_COMMAND = STATUS ] || exit 0\necho '{\"code\":51,\"msg\":\"soon\"}'; exit 1\n")
    node.default["cniVersion"] = "1.1.0"
    node.put_default()
    r = node.cni("STATUS", check=False).json
    assert r["code"] == 51 and "soon" in r["msg"]
    r = node.cni("STATUS", {**node.conf, "readinessindicatorfile": f"{node.state}/up"}, check=False).json
    assert r["code"] == 50 and "readinessindicatorfile" in r["msg"]


def test_gc_takes_what_the_runtime_does_not_know_and_passes_the_list_on(node):
    node.default.update(cniVersion="1.1.0", plugins=[{"type": "odd"}])
    node.plugin("odd", f"#!/bin/sh\n[ $CNI_COMMAND = GC ] && exec cat > {node.state}/gc-input\n[ $CNI_COMMAND = ADD ] && echo '{{\"cniVersion\":\"1.1.0\"}}'\nexit 0\n")
    node.put_default()
    node.conf["cniVersion"] = "1.1.0"
    node.make_pod("a", devices=["d0"])
    node.cni("ADD")
    node.cni("GC", {**node.conf, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]})
    assert len(node.list()) == 1
    assert json.loads((node.state / "gc-input").read_text())["cni.dev/valid-attachments"] == [{"containerID": "c1", "ifname": "eth0"}]
    node.cni("GC", {**node.conf, "cni.dev/valid-attachments": []})
    node.assert_clean()


def test_chained_files_beside_the_list_are_part_of_it(node):
    (node.state / "conf/cbr0").mkdir()
    (node.state / "conf/cbr0/tune.conf").write_text(json.dumps({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}))
    node.make_pod(None)
    node.cni("ADD")
    r = subprocess.run(["ip", "netns", "exec", node.pod, "cat", "/proc/sys/net/ipv4/conf/eth0/arp_filter"], capture_output=True, text=True)
    assert r.stdout.strip() == "1"


def test_inline_delegates_and_empty_nads(node):
    conf = {"cniVersion": "0.4.0", "name": "kv", "type": "kvrail", "delegates": [{**node.default, "cniVersion": "0.4.0"}]}
    (node.state / "conf/30-filed.conf").write_text(json.dumps({"cniVersion": "0.4.0", "name": "filed", "type": "bridge", "bridge": "cbr0", "ipam": {
        "type": "static", "addresses": [{"address": "10.95.0.4/24"}]}}))
    node.nad("filed", "", resource="")
    node.make_pod("filed")
    r = node.cni("ADD", conf).json
    assert r["cniVersion"] == "0.4.0" and r["ips"][0]["version"] == "4"
    assert addresses(links(node.pod)["net1"]) == ["10.95.0.4/24"]
    node.cni("DEL", conf)
    node.assert_clean()
    r = node.cni("ADD", {**conf, "delegates": []}, check=False)
    assert r.returncode == 1 and "neither clusterNetwork nor delegates" in r.json["msg"]


def test_addresses_of_other_makers_interfaces_come_from_the_same_pools(node):
    """whereabouts is one of our names: bridge executes it while our own ADD of the pod waits for bridge."""
    node.plugin("whereabouts", f"#!/bin/sh\nCNI_KVRAIL_PLUGIN=whereabouts exec {DRIVER} {node.state} request\n")
    node.nad("br", {"cniVersion": "1.0.0", "type": "bridge", "bridge": "cbr0", "ipam": {**IPAM, "routes": [{"dst": "10.12.0.0/16"}]}}, resource="")
    node.make_pod("a,br", devices=["d0"])
    node.cni("ADD")
    pod = links(node.pod)
    one, two = (addresses(pod[n])[0] for n in ("net1", "net2"))
    assert one != two and one.startswith("10.77.0.") and two.startswith("10.77.0.")
    assert sorted(x.split()[3] for x in node.leases()) == ["net1", "net2"]
    assert [x["dst"] for x in json.loads(ip("-j", "route", "show", "dev", "net2", ns=node.pod))].count("10.12.0.0/16") == 1
    node.cni("DEL")
    node.assert_clean()


def test_addresses_that_a_pod_asks_for_are_given_to_its_rails_and_behind_other_makers_plugins(node):
    node.plugin("whereabouts", f"#!/bin/sh\nCNI_KVRAIL_PLUGIN=whereabouts exec {DRIVER} {node.state} request\n")
    node.nad("br", {"cniVersion": "1.0.0", "type": "bridge", "bridge": "cbr0", "ipam": {**IPAM}}, resource="")
    asked = [{"name": "a", "ips": ["10.77.0.50", "172.16.0.9/12"]}, {"name": "br", "ips": ["10.99.0.7/24", "fd00:99::7/64"]}]
    node.make_pod(json.dumps(asked), devices=["d0"])
    node.cni("ADD")
    pod = links(node.pod)
    assert addresses(pod["net1"]) == ["10.77.0.50/24", "172.16.0.9/12"]
    one, two = addresses(pod["net2"])
    assert one.startswith("10.77.0.") and two == "10.99.0.7/24" and "fd00:99::7/64" in addresses(pod["net2"], "inet6")
    assert sorted(x.split()[3] for x in node.leases()) == ["net1", "net2"]
    node.cni("DEL")
    node.assert_clean()
    node.make_pod(json.dumps([{"name": "br", "ips": ["10.99.0.7"]}]))
    assert "CNI_ARGS: IP: 10.99.0.7 is no address with a prefix length" in node.cni("ADD", check=False).json["msg"]
    node.assert_clean()


def test_our_own_plugin_within_anothers_chain_is_an_error_and_no_deadlock(node):
    node.plugin("rdma", f"#!/bin/sh\nexec {DRIVER} {node.state} request\n")
    node.nad("odd", {"cniVersion": "1.0.0", "plugins": [{"type": "bridge", "bridge": "cbr0"}, {"type": "rdma"}]}, resource="")
    node.make_pod("odd")
    assert "cannot be part of another maker's chain" in node.cni("ADD", check=False).json["msg"]
    node.assert_clean()


def test_pods_that_come_and_go_at_once_leave_nothing(tmp_path):
    """Plugins are forked from many threads; each sees its own pod, and none keeps another's pipes open."""
    n = Cluster(tmp_path, pods=6)
    try:
        n.nad("side", {"cniVersion": "0.4.0", "type": "ptp", "ipam": {"type": "host-local", "dataDir": f"{n.state}/host-local", "subnet": "10.96.0.0/24"}})
        (n.state / "pods/any.json").write_text(json.dumps({"annotations": {"k8s.v1.cni.cncf.io/networks": "llm/side@side0"}}))
        n.driver("storm", "3", *[f"/run/netns/{p}" for p in n.pods], env={"CONF": json.dumps(n.conf)})
        n.assert_clean()
        assert [x for x in n.files("host-local", "side") if x[0].isdigit()] == []
        assert len([e for e in n.events() if " AddedInterface: Add net1 [10.88.0." in e and "; side0 [10.96.0." in e]) == 18
    finally:
        n.close()
