# SPDX-License-Identifier: Apache-2.0
"""The device plugin at a real kubelet: two VFs of a node's port p1, under a resource of the test's own; no network of kvrail is involved."""
import json
import os
import pathlib
import signal

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVER = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan") / "test/system/device_driver"
RESOURCE = "test.kvrail.io/rails"
ORDERS, PLUGINS = "/run/device-orders", "/var/lib/kubelet/device-plugins"


class Plugin:
    def __init__(self, cluster):
        self.cluster, self.plane, self.node = cluster, cluster.plane, cluster.nodes[0]
        n = self.node
        n.sh(f"echo 2 >/sys/class/net/p1/device/sriov_numvfs; ip link set p1 up; : >{ORDERS}")
        self.pf = n.sh("basename $(readlink -f /sys/class/net/p1/device)").strip()
        self.vfs = n.sh("for i in 0 1; do basename $(readlink /sys/class/net/p1/device/virtfn$i); done").split()
        n.begin("device", ["sh", "-c", f"tail -n +1 -f {ORDERS} | {DRIVER} '" + json.dumps({
            "kubeletDir": PLUGINS, "podResources": "/var/lib/kubelet/pod-resources/kubelet.sock", "infoDir": "/run/test-devinfo", "holdMs": 1000,
            "pollMs": 500}) + "'"])
        self.order(update=[{"prefix": "test.kvrail.io", "name": "rails", "vfs": [
            {"pci": v, "pf": self.pf, "netdev": "p1", "index": i, "numa": -1} for i, v in enumerate(self.vfs)]},
            {"prefix": "test.kvrail.io", "name": "shared", "shares": 1000}])

    def order(self, **what):
        self.node.put("/run/device-order", json.dumps(what).encode() + b"\n")
        self.node.sh(f"cat /run/device-order >>{ORDERS}")

    def said(self):
        return [json.loads(x) for x in self.node.sh("cat /var/log/device.log").splitlines() if x[:1] in "[{"]

    def wait_said(self, f, what, timeout=60):
        return self.plane.wait_for(lambda: next((x for x in reversed(self.said()) if f(x)), None), what, timeout)

    def offered(self, resource=RESOURCE):
        status = self.plane.get(f"/api/v1/nodes/{self.node.name}")["status"]
        return status["capacity"].get(resource), status["allocatable"].get(resource)

    def wait_offered(self, capacity, allocatable, timeout=90):
        self.plane.wait_for(lambda: self.offered() == (str(capacity), str(allocatable)), f"{capacity} devices, {allocatable} to be had, not {self.offered()}",
                            timeout)

    def pod(self, name, count=1):
        self.plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {
            "nodeName": self.node.name, "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "main", "image": "busybox", "command": ["sleep", "100000"], "resources": {
                    "limits": {RESOURCE: str(count), "test.kvrail.io/shared": "1"}}}]}})

    def given(self, name):
        """By the container's environment, and by what the kubelet tells through pod resources."""
        env = self.node.container("default", name, "main").environment()
        vf = env["PCIDEVICE_TEST_KVRAIL_IO_RAILS"]
        self.order(namespace="default", pod=name)
        told = self.wait_said(lambda x: isinstance(x, list) and any(d[2] == vf for d in x), f"{name} has {vf} in the kubelet's pod resources")
        assert ["main", RESOURCE, vf] in told and any(r == "test.kvrail.io/shared" and i.startswith("shared-") for _, r, i in told)
        assert json.loads(env["PCIDEVICE_TEST_KVRAIL_IO_RAILS_INFO"]) == {vf: {"generic": {"deviceID": vf}}}
        return vf

    def registrations(self):
        return sum(isinstance(x, dict) and x.get("say") == f"{RESOURCE}: registered with the kubelet" for x in self.said())

    def stop(self):
        for name in ("device-a", "device-b", "device-c"):
            self.plane.kubectl("delete", "pod", name, "--ignore-not-found", "--force", "--grace-period=0")
        self.node.end("device")
        self.node.sh("pkill -f [d]evice-orders || true; echo 0 >/sys/class/net/p1/device/sriov_numvfs")


@pytest.fixture
def plugin(cluster):
    if not DRIVER.exists():
        pytest.skip(f"{DRIVER} is not there: run ninja -C {DRIVER.parents[2].name}")
    p = Plugin(cluster)
    yield p
    p.stop()


def test_kubelet_offers_gives_and_remembers_through_its_restarts(plugin):
    p = plugin
    p.wait_offered(2, 2)
    assert p.offered("test.kvrail.io/shared") == ("1k", "1k")
    p.pod("device-a")
    p.cluster.wait_pod("default", "device-a")
    held = p.given("device-a")
    other = next(v for v in p.vfs if v != held)
    p.order(holders=[{"pci": held, "namespace": "default", "name": "device-a", "requested": True}], poke=True)
    # restarted: sockets are wiped, the checkpoint stays, both devices stay healthy
    before = p.registrations()
    p.node.restart("kubelet")
    p.plane.wait_for(lambda: p.registrations() > before, "the plugin is registered again", 90)
    p.wait_offered(2, 2)
    assert not any("health" in x for x in p.said() if isinstance(x, dict))
    # our socket removed by someone
    before = p.registrations()
    p.node.sh(f"rm {PLUGINS}/test.kvrail.io_rails.sock")
    p.plane.wait_for(lambda: p.registrations() > before, "the plugin is registered again", 30)
    p.wait_offered(2, 2)
    # the checkpoint lost: the kubelet takes the held VF for free, and is steered to the other one
    before = p.registrations()
    p.node.end("kubelet", signal.SIGKILL)
    p.node.sh(f"rm {PLUGINS}/kubelet_internal_checkpoint")
    argv, environment, _ = p.node.services["kubelet"]
    p.node.begin("kubelet", argv, environment)
    p.plane.wait_for(lambda: p.registrations() > before, "the plugin is registered again", 90)
    p.wait_offered(2, 2)
    p.pod("device-b")
    p.cluster.wait_pod("default", "device-b")
    assert p.given("device-b") == other
    p.pod("device-c")
    p.plane.wait_for(lambda: p.cluster.pod("default", "device-c")["status"].get("phase") == "Failed", "the third pod is refused", 60)
    assert p.cluster.pod("default", "device-a")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_vf_held_without_a_request_is_not_offered(plugin):
    p = plugin
    p.wait_offered(2, 2)
    p.order(holders=[{"pci": p.vfs[1], "namespace": "default", "name": "by-hand"}], poke=True)
    p.wait_offered(2, 1)
    p.wait_said(lambda x: isinstance(x, dict) and x.get("health") == p.vfs[1] and "held by pod default/by-hand" in x["reason"], "the reason is told")
    p.order(holders=[], poke=True)
    p.wait_offered(2, 2)


def test_link_down_is_seen_by_the_scheduler(plugin):
    p = plugin
    p.wait_offered(2, 2)
    p.node.sh("ip link set p1 down")
    p.wait_offered(2, 0)
    p.wait_said(lambda x: isinstance(x, dict) and x.get("health") in p.vfs and "ip link set p1 up" in x["reason"], "the reason is told")
    p.node.sh("ip link set p1 up")
    p.wait_offered(2, 2)
