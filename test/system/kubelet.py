# SPDX-License-Identifier: Apache-2.0
"""A kubelet's side of device plugins and pod resources, on gRPC's own Python library: an independent peer. Messages are read and written by a
protocol buffer codec of twenty lines, with the field numbers of the kubelet's own .proto files."""
import concurrent.futures
import queue
import threading
import time

import grpc


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def encode(*fields):
    """(number, value) pairs: int, str or bytes."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def decode(data):
    """{number: [values]}, values int or bytes."""
    out, at = {}, 0

    def read():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 0x7f) << shift
            shift += 7
            if b < 0x80:
                return n

    while at < len(data):
        key = read()
        value = read()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
            assert at <= len(data)
        else:
            assert key & 7 == 0, "a wire type that these messages do not have"
        out.setdefault(key >> 3, []).append(value)
    return out


def text(message, number):
    return message.get(number, [b""])[0].decode()


def entries(values):
    """map<string, string>"""
    return {text(decode(v), 1): text(decode(v), 2) for v in values}


class Service(grpc.GenericRpcHandler):
    def __init__(self, methods):
        self.methods = methods

    def service(self, details):
        f = self.methods.get(details.method)
        return f and grpc.unary_unary_rpc_method_handler(f)


class Plugin:
    """The kubelet's end of one registered plugin."""

    def __init__(self, folder, endpoint, resource):
        self.resource, self.lists, self.ended = resource, [], threading.Event()
        self.news = queue.Queue()
        self.channel = grpc.insecure_channel(f"unix:{folder}/{endpoint}")
        self.options = decode(self.call("GetDevicePluginOptions", b""))
        self.stream = self.channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch")(b"")
        threading.Thread(target=self.watch, daemon=True).start()

    def call(self, method, message, timeout=10):
        return self.channel.unary_unary(f"/v1beta1.DevicePlugin/{method}")(message, timeout=timeout)

    def watch(self):
        try:
            for message in self.stream:
                devices = {}
                for d in decode(message).get(1, []):
                    d = decode(d)
                    numa = decode(decode(d[3][0])[1][0]).get(1, [0])[0] if 3 in d else None
                    devices[text(d, 1)] = (text(d, 2), numa)
                self.lists.append(devices)
                self.news.put(devices)
        except grpc.RpcError:
            pass
        self.ended.set()

    def next(self, timeout=10):
        return self.news.get(timeout=timeout)

    def healthy(self):
        return sorted(i for i, (h, _) in self.lists[-1].items() if h == "Healthy")

    def until_healthy(self, want, timeout=10):
        end = time.monotonic() + timeout
        while not self.lists or self.healthy() != sorted(want):
            assert time.monotonic() < end, f"healthy: {self.lists and self.healthy()}, not {sorted(want)}"
            time.sleep(0.02)

    def preferred(self, available, size, must=()):
        rq = encode(*[(1, i) for i in available], *[(2, i) for i in must], (3, size))
        reply = decode(self.call("GetPreferredAllocation", encode((1, rq))))
        return [i.decode() for i in decode(reply[1][0]).get(1, [])]

    def allocate(self, *ids):
        reply = decode(self.call("Allocate", encode((1, encode(*[(1, i) for i in ids])))))
        assert len(reply[1]) == 1
        c = decode(reply[1][0])
        nodes = [decode(d) for d in c.get(3, [])]
        return {"env": entries(c.get(1, [])), "cdi": [text(decode(d), 1) for d in c.get(5, [])], "mounts": [(text(m, 1), text(m, 2), m.get(3, [0])[0]) for m in map(decode, c.get(2, []))],
                "annotations": entries(c.get(4, [])), "devices": [(text(d, 1), text(d, 2), text(d, 3)) for d in nodes]}

    def close(self):
        self.channel.close()


class Kubelet:
    """Takes registrations on FOLDER/kubelet.sock and answers pod resources on a socket beside it."""

    def __init__(self, folder, pod_resources, has_get=True):
        self.folder, self.pod_resources, self.has_get = folder, pod_resources, has_get
        self.pods = {}  # (namespace, name): {container: {resource: [ids]}}
        self.registered = queue.Queue()
        self.plugins = {}
        self.servers = []

    def start(self):
        """As a kubelet starts: what lies in the folder is removed first."""
        for f in self.folder.iterdir():
            if not f.name.startswith("kubelet_internal"):
                f.unlink()
        self.servers = [self.serve(self.folder / "kubelet.sock", {"/v1beta1.Registration/Register": self.register}),
                        self.serve(self.pod_resources, {"/v1.PodResourcesLister/List": self.list, "/v1.PodResourcesLister/Get": self.get})]
        return self

    def serve(self, path, methods):
        path.unlink(missing_ok=True)
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((Service(methods),))
        assert server.add_insecure_port(f"unix:{path}")
        server.start()
        return server

    def stop(self):
        for p in self.plugins.values():
            p.close()
        for s in self.servers:
            s.stop(0).wait()
        self.plugins, self.servers = {}, []
        while not self.registered.empty():
            self.registered.get()

    def register(self, message, context):
        rq = decode(message)
        self.registered.put({"version": text(rq, 1), "endpoint": text(rq, 2), "resource": text(rq, 3), "options": decode(rq[4][0]) if 4 in rq else {}})
        return b""

    def plugin(self, resource, timeout=10):
        """Waits for the registration of the resource and connects, as a kubelet does."""
        end = time.monotonic() + timeout
        while True:
            rq = self.registered.get(timeout=max(0.01, end - time.monotonic()))
            assert rq["version"] == "v1beta1"
            self.plugins[rq["resource"]] = Plugin(self.folder, rq["endpoint"], rq["resource"])
            if rq["resource"] == resource:
                return self.plugins[resource]

    def pod(self, key):
        containers = [(3, encode((1, name), *[(2, encode((1, r), *[(2, i) for i in ids])) for r, ids in resources.items()]))
                      for name, resources in self.pods[key].items()]
        return encode((1, key[1]), (2, key[0]), *containers)

    def list(self, message, context):
        return encode(*[(1, self.pod(key)) for key in self.pods])

    def get(self, message, context):
        rq = decode(message)
        key = text(rq, 2), text(rq, 1)
        if not self.has_get or key not in self.pods:
            context.abort(grpc.StatusCode.UNKNOWN, "Get method disabled" if not self.has_get else f"pod {key[1]} in namespace {key[0]} not found")
        return encode((1, self.pod(key)))
