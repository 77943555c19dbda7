#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A device plugin for kubelet that offers nvidia.com/gpu without any GPU: names to be counted and nothing behind them.

usage: gpu-plugin.py COUNT [--resource NAME]

Runs in a node of the test cluster; registers again when kubelet starts anew. Messages are those of kubelet's device plugin API v1beta1
(k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto), written out by hand: a field is its key byte, its length, its content.
"""
import os
import sys
import threading
import time
from concurrent import futures

import grpc

FOLDER = "/var/lib/kubelet/device-plugins"
RESOURCE = sys.argv[3] if sys.argv[2:3] == ["--resource"] else "nvidia.com/gpu"
SOCKET = RESOURCE.replace("/", "_") + "-stand-in.sock"


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(data):
    """(number, content) of a message whose fields are all length-delimited."""
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n

    while at < len(data):
        key = number()
        size = number()
        yield key >> 3, data[at:at + size]
        at += size


def devices(count):
    """ListAndWatchResponse: repeated Device devices = 1 {ID = 1, health = 2}"""
    return b"".join(field(1, field(1, f"GPU-{i}") + field(2, "Healthy")) for i in range(count))


def allocate(request):
    """AllocateRequest {container_requests = 1 {devices_ids = 1}} -> AllocateResponse {container_responses = 1 {envs = 1 (map)}}"""
    out = b""
    for number, container in fields(request):
        if number == 1:
            ids = ",".join(i.decode() for n, i in fields(container) if n == 1)
            out += field(1, field(1, field(1, "NVIDIA_VISIBLE_DEVICES") + field(2, ids)))
    return out


def list_and_watch(count):
    yield devices(count)
    while True:  # kubelet takes the end of the stream for the end of the devices
        time.sleep(3600)


def serve(count):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", {
        "GetDevicePluginOptions": unary(lambda *_: b""), "ListAndWatch": stream(lambda *_: list_and_watch(count)),
        "Allocate": unary(lambda request, _: allocate(request)), "PreStartContainer": unary(lambda *_: b"")})])
    path = f"{FOLDER}/{SOCKET}"
    if os.path.exists(path):
        os.unlink(path)
    server.add_insecure_port(f"unix://{path}")
    server.start()
    return server


def register():
    """RegisterRequest {version = 1, endpoint = 2, resource_name = 3}"""
    with grpc.insecure_channel(f"unix://{FOLDER}/kubelet.sock") as channel:
        channel.unary_unary("/v1beta1.Registration/Register")(
            field(1, "v1beta1") + field(2, SOCKET) + field(3, RESOURCE), timeout=20, wait_for_ready=True)


def main():
    count = int(sys.argv[1])
    seen = server = None
    while True:  # kubelet empties the folder when it starts
        try:
            now = os.stat(f"{FOLDER}/kubelet.sock").st_ino
            if now != seen or not os.path.exists(f"{FOLDER}/{SOCKET}"):
                if server:
                    server.stop(None)
                server = serve(count)
                register()
                seen = now
                print(f"gpu-plugin: {count} {RESOURCE}", flush=True)
        except (OSError, grpc.RpcError) as e:
            print(f"gpu-plugin: not yet: {e}", file=sys.stderr, flush=True)
        time.sleep(1)


threading.stack_size(256 << 10)
main()
