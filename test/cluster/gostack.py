# SPDX-License-Identifier: Apache-2.0
"""The components that kvrail replaces, as they are deployed, but run on a node by hand: Multus' thick plugin, sriov-cni, Whereabouts, the SR-IOV
device plugin. Their programs come from the folder that KVRAIL_PEERS names."""
import json
import os
import pathlib
import shutil

from control import TREE

PROGRAMS = ("multus-daemon", "multus-shim", "sriov", "whereabouts", "sriovdp")
PEERS = pathlib.Path(os.environ.get("KVRAIL_PEERS", "/nonexistent"))
CONF = "/etc/cni/net.d/00-multus.conf"
SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"
WHEREABOUTS = "/etc/cni/net.d/whereabouts.d"


def missing():
    """Programs that KVRAIL_PEERS lacks."""
    return [p for p in PROGRAMS if not (PEERS / p).exists()]


class GoStack:
    def __init__(self, cluster, resource, port="p0"):
        """@resource  "PREFIX/NAME" that the device plugin offers: all VFs of @port"""
        self.cluster, self.node, self.resource, self.port = cluster, cluster.nodes[0], resource, port
        self.folder = TREE / "build/cluster/peers"  # guests have a /tmp of their own
        self.folder.mkdir(parents=True, exist_ok=True)
        for p in PROGRAMS:
            shutil.copy2(PEERS / p, self.folder / p)

    def start(self):
        node, plane = self.node, self.cluster.plane
        prefix, name = self.resource.split("/")
        node.put(f"{SECRETS}/token", plane.tokens["admin"])
        node.put(f"{SECRETS}/ca.crt", plane.authority.certificate.read_bytes())
        node.put(f"{WHEREABOUTS}/whereabouts.kubeconfig", plane.kubeconfig(host="10.0.2.2").read_bytes(), 0o600)
        node.put(f"{WHEREABOUTS}/whereabouts.conf", json.dumps({
            "datastore": "kubernetes", "kubernetes": {"kubeconfig": f"{WHEREABOUTS}/whereabouts.kubeconfig"}, "reconciler_cron_expression": "30 4 * * *"}))
        node.put("/etc/cni/net.d/multus.d/daemon-config.json", json.dumps({
            "cniVersion": "0.3.1", "logLevel": "error", "logToStderr": True, "cniConfigDir": "/etc/cni/net.d", "multusAutoconfigDir": "/etc/cni/net.d",
            "multusConfigFile": "auto", "socketDir": "/run/multus/"}))
        node.put("/etc/pcidp/config.json", json.dumps({"resourceList": [{
            "resourceName": name, "resourcePrefix": prefix, "selectors": {"pfNames": [self.port]}}]}))
        node.sh(f"mkdir -p /run/multus; cp {self.folder}/multus-shim {self.folder}/sriov {self.folder}/whereabouts /opt/cni/bin/")
        self.start_device_plugin()
        node.begin("multus-daemon", [self.folder / "multus-daemon", "-config", "/etc/cni/net.d/multus.d/daemon-config.json"],
                   {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "MULTUS_NODE_NAME": node.name})
        node.wait_for(f"test -s {CONF}", timeout=120)
        return self

    def start_device_plugin(self):
        self.node.begin("sriovdp", [self.folder / "sriovdp", "--config-file=/etc/pcidp/config.json", f"--resource-prefix={self.resource.split('/')[0]}"])

    def stop_device_plugin(self):
        self.node.end("sriovdp")

    def stop(self):
        """As when its DaemonSets are deleted, and what they leave on the node is removed."""
        self.stop_device_plugin()
        self.stop_multus()

    def stop_multus(self):
        self.node.end("multus-daemon")
        self.node.sh(f"rm -rf {CONF} /etc/cni/net.d/multus.d {WHEREABOUTS}")
