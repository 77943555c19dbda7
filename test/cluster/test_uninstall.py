# SPDX-License-Identifier: Apache-2.0
"""kvrail as deploy/ installs it: what the agent is allowed on a node, an update, and what an uninstall leaves. Last of the tests that share the cluster."""
import kserve
from kvrail import SYSTEM, Kvrail

CONF, PLUGIN = "/etc/cni/net.d/00-kvrail.conf", "/opt/cni/bin/kvrail"
NET_ADMIN, NET_RAW, SYS_ADMIN = 1 << 12, 1 << 13, 1 << 21  # include/uapi/linux/capability.h
OURS = f"/etc/cni/net.d/*kvrail* {PLUGIN} /var/lib/kvrail /run/kvrail /var/run/cdi/kvrail* /var/lib/kubelet/device-plugins/openshift.io_*"


def restart(plane, what):
    plane.kubectl("-n", SYSTEM, "rollout", "restart", what)
    plane.kubectl("-n", SYSTEM, "rollout", "status", what, "--timeout=240s", timeout=260)


def test_the_agent_has_three_capabilities_and_sees_neither_the_hosts_processes_nor_its_root(cluster, kvrail):
    for n in cluster.nodes:
        pid = Kvrail.agent_pid(n)
        status = dict(line.split(":\t", 1) for line in n.sh(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == NET_ADMIN | NET_RAW | SYS_ADMIN
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert n.sh(f"readlink /proc/{pid}/ns/pid") != n.sh("readlink /proc/1/ns/pid")
        mounts = [line.split() for line in n.sh(f"cat /proc/{pid}/mounts").splitlines()]
        assert "ro" in next(m for m in mounts if m[1] == "/")[3].split(",")
        assert not n.run(f"ls /proc/{pid}/root/etc/kubernetes /proc/{pid}/root/bin/sh").out


def test_pods_wait_while_the_agent_is_updated(cluster, kvrail):
    """The configuration stays between two agents: no pod starts without its networks meanwhile."""
    before = [n.sh(f"stat -c %i {CONF}") for n in cluster.nodes]
    restart(cluster.plane, "daemonset/kvrail-agent")
    assert [n.sh(f"stat -c %i {CONF}") for n in cluster.nodes] == before


def test_an_uninstall_leaves_no_vf_and_no_file(cluster, kvrail):
    plane = cluster.plane
    plane.kubectl("-n", SYSTEM, "delete", "sriovnetworks,sriovnetworknodepolicies", "--all", "--timeout=240s", timeout=260)
    plane.wait_for(lambda: all(n.sh("cat /sys/class/net/p?/device/sriov_numvfs").split() == ["0", "0"] for n in cluster.nodes), "the VFs are gone", 240)
    plane.kubectl("delete", "-k", kserve.TREE / "lab/cluster", "--timeout=240s", timeout=280)
    for n in cluster.nodes:
        assert n.sh(f"find {OURS} ! -type d 2>/dev/null || true") == ""
        assert "10-bridge.conflist" in n.sh("ls /etc/cni/net.d")
    # pods start as they did before
    plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "after", "namespace": "default"}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "busybox", "command": ["sleep", "100000"]}]}})
    cluster.wait_pod("default", "after")
    cluster.delete_pod("default", "after")
