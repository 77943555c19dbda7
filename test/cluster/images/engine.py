# SPDX-License-Identifier: Apache-2.0
"""The stand-in for vLLM's server (and, as `sidecar`, for the routing proxy in front of it), in the test image.

usage: engine.py serve MODEL [--port N] [...]     options that it does not know are vLLM's and are passed over
       engine.py sidecar [--port=N] [...]

Answers HTTP and HTTPS on one port, as the probes of the pods want it:
    GET /health   200
    GET /about    what this container found: environment, limits, capabilities, devices, RDMA devices with their GIDs
    GET /prefill?by=kv|nixl             holds blocks for a decode
    GET /decode?by=kv|nixl&peer=ADDRESS pulls them and says how they came
    GET /file?path=PATH                 that file
The side channel of NIXL's agents is VLLM_NIXL_SIDE_CHANNEL_HOST, port VLLM_NIXL_SIDE_CHANNEL_PORT (5600), as in vLLM. RDMA is used as the
container's environment says; nothing is set here but the search path of libraries that the wheel of NIXL needs on Debian.
"""
import glob
import http.server
import json
import os
import re
import resource
import socket
import ssl
import subprocess
import sys
import threading
import urllib.parse

TLS = "/var/run/kserve/tls"
KV_PORT = 5700
SIDE_PORT = int(os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT", "5600"))
SIDE_HOST = os.environ.get("VLLM_NIXL_SIDE_CHANNEL_HOST", "0.0.0.0")
AGENT = ["python3", "/opt/stand-in/nixl-agent.py"]
BLOCKS, SIZE = "64", "65536"
MODEL = "qwen2-7b"
TOKENS = "256"

SECRET = {"KVRAIL_KV_SECRET": "of the test", **os.environ}
running = {}  # what /prefill started
lock = threading.Lock()


def read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError as e:
        return f"({e.strerror})"


def rdma_devices():
    devices = {}
    for d in sorted(glob.glob("/sys/class/infiniband/*")):
        gids = {}
        for g in glob.glob(f"{d}/ports/1/gids/*"):
            value = read(g)
            if value.strip("0:("):
                index = os.path.basename(g)
                kind = read(f"{d}/ports/1/gid_attrs/types/{index}")
                if not value.startswith("("):
                    gids[index] = [value, kind]
        counters = {os.path.basename(c): int(read(c)) for c in glob.glob(f"{d}/ports/1/hw_counters/*") if read(c).isdigit()}
        devices[os.path.basename(d)] = {"state": read(f"{d}/ports/1/state"), "gids": gids, "counters": counters}
    return devices


def about():
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
    return {
        "environment": dict(os.environ), "uid": os.getuid(), "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        "unlimited": resource.RLIM_INFINITY, "capabilities": status.get("CapEff"), "seccomp": status.get("Seccomp"),
        "no_new_privileges": status.get("NoNewPrivs"), "infiniband": sorted(os.listdir("/dev/infiniband"))
        if os.path.isdir("/dev/infiniband") else [], "rdma": rdma_devices(),
        "interfaces": {n: read(f"/sys/class/net/{n}/mtu") for n in sorted(os.listdir("/sys/class/net"))},
        "tcp": tcp_segments(), "role": ROLE}


def tcp_segments():
    names, values = [line.split() for line in read("/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(names[1:], values[1:]))["OutSegs"])


def nixl_environment():
    return {**os.environ, "LD_LIBRARY_PATH": "/opt/nixl-libs", "PYTHONPATH": "/opt/nixl", "UCX_LOG_LEVEL": "info"}


def prefill(by):
    with lock:
        while running:
            _, old = running.popitem()
            old.kill()
            old.wait()
        if by == "kv":
            p = running[by] = subprocess.Popen(["kvrail-kv", "serve", "--model", MODEL, "--tokens", TOKENS], stdout=subprocess.PIPE, stderr=sys.stdout,
                                               env=SECRET, text=True)
            listening = p.stdout.readline()  # all that it says there, once a decode may come
            print(listening, end="", flush=True)
            return {"serving": KV_PORT} if listening else {"error": f"kvrail-kv serve ended with {p.wait()}"}
        p = running[by] = subprocess.Popen([*AGENT, "prefill", BLOCKS, SIZE], env=nixl_environment(), stdout=subprocess.PIPE, text=True)
        for line in p.stdout:
            print(line, end="", flush=True)
            found = re.search(r'\{"metadata".*?\}', line)  # UCX writes its log to the same pipe, not in whole lines
            if found:
                break
        else:
            return {"error": f"the prefill agent ended with {p.wait()}"}
        threading.Thread(target=offer, args=(p, found[0] + "\n"), daemon=True).start()
        return {"offering": SIDE_PORT, "host": SIDE_HOST}


def offer(agent, line):
    """Hands the agent's metadata to one decode that asks on the side channel, then follows what the agent says."""
    family = socket.AF_INET6 if ":" in SIDE_HOST else socket.AF_INET
    with socket.create_server((SIDE_HOST, SIDE_PORT), family=family, reuse_port=True) as s:
        c, _ = s.accept()
        with c:
            c.sendall(line.encode())
    for line in agent.stdout:
        print(line, end="", flush=True)


def decode(by, peer):
    if by == "kv":
        command, data, env = ["kvrail-kv", "pull", "--model", MODEL, "--handoffs", "3", "--checksum", "block", "--output", "json", "--require-rdma", peer], None, SECRET
    else:
        with socket.create_connection((peer, SIDE_PORT), timeout=30) as s, s.makefile() as f:
            data = f.readline()
        command, env = [*AGENT, "decode", BLOCKS, SIZE], nixl_environment()
    r = subprocess.run(command, input=data, env=env, capture_output=True, text=True, timeout=300)
    print(r.stdout, r.stderr, flush=True)
    return {"rc": r.returncode, "out": r.stdout, "err": r.stderr}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        q = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        try:
            actions = {"/health": lambda: {"ok": True}, "/about": about, "/prefill": lambda: prefill(q["by"]),
                       "/decode": lambda: decode(q["by"], q["peer"]), "/file": lambda: read(q["path"])}
            code, answer = (200, actions[url.path]()) if url.path in actions else (404, {"error": "no such page"})
        except Exception as e:
            code, answer = 500, {"error": repr(e)}
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, form, *arguments):
        if "/health" not in self.path:
            print(form % arguments, flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port):
        super().__init__(("0.0.0.0", port), Handler)
        self.tls = None
        if os.path.exists(f"{TLS}/tls.crt"):
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(f"{TLS}/tls.crt", f"{TLS}/tls.key")

    def finish_request(self, request, address):
        """Runs in the request's thread: TLS begins with byte 22, HTTP with a letter."""
        request.settimeout(600)
        if self.tls and request.recv(1, socket.MSG_PEEK) == b"\x16":
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, address)


def option(name, default=None):
    for i, a in enumerate(sys.argv):
        if a.startswith(name + "="):
            return a.split("=", 1)[1]
        if a == name and i + 1 < len(sys.argv):
            return sys.argv[i + 1]
    return default


ROLE = json.loads(option("--kv_transfer_config") or option("--kv-transfer-config") or "{}").get("kv_role", sys.argv[1])
if __name__ == "__main__":
    print(f"stand-in {ROLE}: {sys.argv[1:]}", flush=True)
    Server(int(option("--port", "8000"))).serve_forever()
