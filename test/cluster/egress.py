# SPDX-License-Identifier: Apache-2.0
"""The API server's way into the nodes: to kubelets (kubectl logs and exec) and to services (admission webhooks).

Nodes are guests behind a user network, so the API server, told by its egress selector, sends "CONNECT HOST:PORT" here. A service's
address becomes that of one of its endpoints, as kube-proxy would have it, and the connection goes on through `forward.py` on a node.
"""
import ipaddress
import json
import shutil
import socket
import socketserver
import tempfile
import threading

import control

CONFIGURATION = {"apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration"}
REPLY = b"HTTP/1.1 200 Connection established\r\n\r\n"


def head(stream):
    """The first line of a request or a reply, after reading its whole head."""
    first = stream.readline(8192).decode().strip()
    while stream.readline(8192).strip():
        pass
    return first


def pump(a, b):
    """Carries bytes both ways until both have ended."""
    def carry(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for s in source, target:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
    back = threading.Thread(target=carry, args=(b, a), daemon=True)
    back.start()
    carry(a, b)
    back.join()


class Egress:
    def __init__(self):
        egress = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                egress._serve(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads, request_queue_size = True, 64

        self.dir = tempfile.mkdtemp(prefix="kvrail-egress-")
        self.path = f"{self.dir}/socket"
        self.server = Server(self.path, Handler)
        self.plane, self.forwarders = None, {}  # node's address on this machine's side: {"192.168.50.1": port}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def configuration(self):
        return json.dumps({**CONFIGURATION, "egressSelections": [{"name": "cluster", "connection": {
            "proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": self.path}}}}]})

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def endpoint(self, host, port):
        """Where a connection to a service's address goes: one of its ready endpoints."""
        if ipaddress.ip_address(host) not in ipaddress.ip_network(control.SERVICES):
            return host, port
        for s in self.plane.get("/api/v1/services")["items"]:
            if s["spec"].get("clusterIP") != host:
                continue
            name = next((p.get("name", "") for p in s["spec"]["ports"] if p["port"] == port), None)
            slices = self.plane.get(f"/apis/discovery.k8s.io/v1/namespaces/{s['metadata']['namespace']}/endpointslices"
                                    f"?labelSelector=kubernetes.io/service-name={s['metadata']['name']}")["items"]
            for e in slices:
                target = next((p["port"] for p in e.get("ports") or [] if (p.get("name") or "") == name), None)
                for end in e.get("endpoints") or []:
                    if target and end.get("conditions", {}).get("ready", True):
                        return end["addresses"][0], target
        raise OSError(f"no endpoint behind {host}:{port}")

    def _serve(self, client):
        try:
            with client.makefile("rb", buffering=0) as stream:
                _, target, _ = head(stream).split(" ", 2)
            host, port = self.endpoint(target.rpartition(":")[0].strip("[]"), int(target.rpartition(":")[2]))
            # any node reaches every pod and every node; a node's own address is best asked of itself
            forwarder = self.forwarders.get(host) or next(iter(self.forwarders.values()))
            with socket.create_connection(("127.0.0.1", forwarder), timeout=10) as node:
                node.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
                with node.makefile("rb", buffering=0) as stream:
                    if " 200 " not in head(stream):
                        raise OSError(f"no connection to {host}:{port}")
                node.settimeout(None)
                client.sendall(REPLY)
                pump(client, node)
        except (OSError, ValueError, StopIteration, control.ApiError) as e:
            try:
                client.sendall(f"HTTP/1.1 502 {e}\r\nContent-Length: 0\r\n\r\n".encode())
            except OSError:
                pass
