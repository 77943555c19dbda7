# SPDX-License-Identifier: Apache-2.0
"""What a container runtime does with the network, and nothing more: a namespace with a process in it, and the installed CNI
plugin executed with a conflist and an environment, as libcni does it."""
import json

CNI_BIN = "/opt/cni/bin"


def install(guest):
    """The plugin where runtimes look for it."""
    guest.sh(f"mkdir -p {CNI_BIN} && cp \"$(command -v kvrail-cni)\" {CNI_BIN}/kvrail")


class CniError(Exception):
    def __init__(self, result):
        self.rc, self.text = result.rc, result.out + result.err
        try:
            self.error = json.loads(result.out)
        except ValueError:
            self.error = {}
        super().__init__(self.error.get("msg") or self.text)


class Pod:
    """A pod sandbox on a lab node: /run/netns/NAME and a process that lives in it."""

    def __init__(self, guest, name, networks, namespace="llm-test", uid=None):
        self.guest, self.name, self.namespace = guest, name, namespace
        self.container = f"sandbox-{namespace}-{name}"
        self.uid = uid or f"uid-{name}"
        self.netns = f"/run/netns/{name}"
        self.conflist = {"cniVersion": "1.0.0", "name": "kvrail",
                         "plugins": [{"type": "kvrail", "networks": networks}]}
        self.result = None

    def start(self):
        self.guest.sh(f"ip netns add {self.name} && ip -n {self.name} link set lo up")
        self.process = self.guest.spawn(["ip", "netns", "exec", self.name, "sleep", "100000"])

    def cni(self, command, timeout=60, env=None):
        """One verb of every plugin in the list; returns the result of the last."""
        result = {}
        plugins = self.conflist["plugins"]
        for plugin in reversed(plugins) if command == "DEL" else plugins:
            conf = dict(plugin, cniVersion=self.conflist["cniVersion"], name=self.conflist["name"])
            if self.result and command != "ADD":
                conf["prevResult"] = self.result
            r = self.guest.run([f"{CNI_BIN}/{plugin['type']}"], timeout=timeout, input=json.dumps(conf), env={
                "CNI_COMMAND": command, "CNI_CONTAINERID": self.container, "CNI_NETNS": self.netns, "CNI_IFNAME": "eth0",
                "CNI_PATH": CNI_BIN,
                "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={self.namespace};K8S_POD_NAME={self.name};"
                            f"K8S_POD_INFRA_CONTAINER_ID={self.container};K8S_POD_UID={self.uid}", **(env or {})})
            if r.rc:
                raise CniError(r)
            result = json.loads(r.out) if r.out.strip() else {}
        return result

    def add(self, **options):
        self.start()
        self.result = self.cni("ADD", **options)
        return self.result

    def delete(self, **options):
        """As a runtime tears a sandbox down: DEL, then the processes, then the namespace."""
        self.cni("DEL", **options)
        self.stop()

    def stop(self):
        self.process.kill()
        self.guest.sh(f"ip netns del {self.name}")

    def addresses(self):
        return [ip["address"].split("/")[0] for ip in self.result["ips"]]

    def sh(self, command, **options):
        """A command inside the pod."""
        return self.guest.sh(["ip", "netns", "exec", self.name, "/bin/sh", "-c", command], **options)
