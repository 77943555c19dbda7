#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Resident memory of the agent: idle, and after 10,000 ADD and DEL of one rail (a veth in place of a VF). Needs root."""
import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

from rows import BUILD, row, skip

ROUNDS = int(os.environ.get("KVRAIL_ROUNDS", "10000"))
HOST, POD = f"kvr-{os.getpid()}-h", f"kvr-{os.getpid()}-p"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("agent")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(connection, target, body):
    connection.request("POST", target, json.dumps(body))
    r = connection.getresponse()
    text = r.read()
    if r.status != 200:
        sys.exit(f"{target}: {text.decode()}")
    return text


def cni(connection, command, container):
    conf = {"cniVersion": "1.0.0", "name": "bench", "type": "kvrail", "networks": "default/bench"}
    env = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{POD}", "CNI_IFNAME": "eth0",
           "CNI_PATH": "/opt/cni/bin", "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=bench;K8S_POD_UID=u"}
    ask(connection, "/cni", {"env": env, "config": base64.b64encode(json.dumps(conf).encode()).decode()})


def resident(pid):
    """KiB of RAM that is the process's own or shared."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])


def main():
    if os.geteuid():
        skip("agent, resident memory", "< 12 MiB", "needs root")
        return
    network = {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork",
               "metadata": {"name": "bench", "namespace": "default"},
               "spec": {"resourceName": "bench", "ipam": '{"type":"whereabouts","range":"10.8.0.0/24"}'}}
    for ns in HOST, POD:
        subprocess.run(["ip", "netns", "add", ns], check=True)
    try:
        subprocess.run(["ip", "-n", HOST, "link", "add", "soft0", "type", "veth", "peer", "name", "soft0-peer"], check=True)
        subprocess.run(["ip", "-n", HOST, "link", "set", "soft0-peer", "up"], check=True)  # carrier: ADD waits for it a while
        with tempfile.TemporaryDirectory() as dir:
            sock = f"{dir}/agent.sock"
            agent = subprocess.Popen(["ip", "netns", "exec", HOST, BUILD / "kvrail", "agent", "--standalone", "--state", f"{dir}/state",
                                      "--socket", sock, "--rdma-netns", "keep", "--netdev", "bench=soft0", "--log-level", "error"])
            while not os.path.exists(sock):
                time.sleep(0.05)
            c = UnixConnection(sock)
            ask(c, "/kvrail/apply", [network])
            cni(c, "ADD", "warm")
            cni(c, "DEL", "warm")
            time.sleep(1)
            idle = resident(agent.pid)
            start = time.monotonic()
            for i in range(ROUNDS):
                cni(c, "ADD", f"c{i}")
                cni(c, "DEL", f"c{i}")
                if sys.stderr.isatty() and i % 100 == 0:
                    print(f"\r{i} of {ROUNDS}", end="", file=sys.stderr)
            seconds = time.monotonic() - start
            time.sleep(1)
            after = resident(agent.pid)
            agent.terminate()
            agent.wait()
    finally:
        for ns in HOST, POD:
            subprocess.run(["ip", "netns", "del", ns])
    row("agent, resident memory, idle", f"{idle / 1024:.1f} MiB", "< 12 MiB", idle < 12 * 1024)
    row(f"its growth over {ROUNDS:,} ADD and DEL", f"{after - idle} KiB ({seconds / ROUNDS * 1000:.1f} ms a pair)", "< 256 KiB", after - idle < 256)


main()
