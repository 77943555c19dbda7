#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""On a node: takes "CONNECT HOST:PORT" from this machine's side and connects there. The other end of egress.py.

usage: forward.py ADDRESS PORT
"""
import socket
import sys
import threading


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


def serve(client):
    with client:
        data = b""
        while b"\r\n\r\n" not in data and len(data) < 8192:
            more = client.recv(1024)
            if not more:
                return
            data += more
        try:
            host, _, port = data.split(b" ", 2)[1].decode().rpartition(":")
            target = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
        except (OSError, ValueError, IndexError):
            client.sendall(b"HTTP/1.1 502 no connection\r\n\r\n")
            return
        with target:
            target.settimeout(None)
            client.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
            back = threading.Thread(target=carry, args=(target, client), daemon=True)
            back.start()
            carry(client, target)
            back.join()


threading.stack_size(256 << 10)
with socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
