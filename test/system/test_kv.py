# SPDX-License-Identifier: Apache-2.0
"""kvrail-kv over TCP on the loopback: what arrives, and what is said when the peer is wrong, silent or dead. Needs no root."""
import contextlib
import ctypes.util
import hashlib
import hmac
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import time

import pytest

SOURCE = pathlib.Path(os.environ.get("KVRAIL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
KV = SOURCE / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail-kv"
ENV = {**os.environ, "KVRAIL_KV_SECRET": "tea"}

pytestmark = pytest.mark.skipif(not KV.exists(), reason=f"{KV} is not built")


class Prefill:
    def __init__(self, *options, env=ENV):
        self.p = subprocess.Popen([KV, "serve", "-l", "127.0.0.1:0", *options], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        self.address = self.p.stdout.readline().split()[-1]
        self.port = int(self.address.split(":")[1])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
        self.err = self.p.communicate(timeout=30)[1]


def pull(server, *options, env=ENV, timeout=60):
    return subprocess.run([KV, "pull", "-n", "2", *options, server.address], env=env, capture_output=True, text=True, timeout=timeout)


def pulled(server, *options):
    r = pull(server, "-o", "json", "--transport", "tcp", "--checksum", "block", *options)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


@pytest.fixture(scope="module")
def prefill():
    with Prefill("-t", "200") as p:
        yield p
    assert p.p.returncode == 0 and "runtime error" not in p.err and "AddressSanitizer" not in p.err, p.err


@pytest.mark.parametrize("layout", [
    ["--fragmentation", "0"],
    ["--order", "NHD", "--tensors", "cross"],
    ["--tp", "4", "--rank", "3"],
    ["--tp", "8", "--rank", "5", "--block-tokens", "7"],
    ["--op", "write", "--order", "NHD"],
    ["--lanes", "3"],
])
def test_every_block_arrives_whatever_the_layout(prefill, layout):
    result = pulled(prefill, *layout)
    assert result["checksum"] == "ok" and result["transport"] == "tcp" and result["rdma"] is False
    heads = 1 if "--tp" in layout else 4
    assert result["bytes"] == 200 * 57344 * heads // 4


@pytest.mark.parametrize("layout", [
    [],
    ["--order", "NHD", "--tensors", "cross", "--fragmentation", "0"],
    ["--tp", "4", "--rank", "2", "--block-tokens", "7", "--lanes", "2"],
    ["--op", "write"],
    ["--op", "write", "--order", "NHD", "--tensors", "packed", "--block-tokens", "64"],
])
@pytest.mark.parametrize("held", [[], ["--order", "NHD", "--tensors", "packed"]])
def test_a_part_of_the_tokens_arrives_and_is_what_both_sides_report(held, layout):
    with Prefill("-t", "200", *held) as server:
        result = pulled(server, "-t", "33", *layout)
    size = 33 * 57344 // (4 if "--tp" in layout else 1)
    assert result["checksum"] == "ok" and result["tokens"] == 33 and result["bytes"] == size
    assert f"2 handoffs of {size} bytes" in server.err


def test_decode_of_one_rank_reads_from_two_prefill_ranks():
    with Prefill("-t", "64", "--tp", "2", "--rank", "0") as a, Prefill("-t", "64", "--tp", "2", "--rank", "1") as b:
        r = subprocess.run([KV, "pull", "-n", "1", "-o", "json", "--transport", "tcp", "--checksum", "block", a.address, b.address], env=ENV,
                           capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr
        assert json.loads(r.stdout)["bytes"] == 64 * 57344
        r = pull(b, "--transport", "tcp")
        assert r.returncode == 1 and "no prefill given holds head 0" in r.stderr


def test_auto_without_rdma_says_that_it_is_tcp(prefill):
    r = pull(prefill, "-o", "json")
    result = json.loads(r.stdout)
    if result["rdma"]:
        pytest.skip("this machine has RDMA")
    assert "NOT RDMA: transport tcp, because verbs: " in r.stderr and result["fallback"].startswith("verbs: ")


def test_require_rdma_fails_without_it(prefill):
    r = pull(prefill, "--require-rdma", "--rails", "127.0.0.1")
    assert r.returncode == 1 and len(r.stderr.splitlines()) == 1, r.stderr
    assert "no RDMA device" in r.stderr
    assert pull(prefill, "--require-rdma", "--transport", "tcp").returncode == 1


def test_ucx_is_held_to_the_devices_of_the_rails(prefill):
    if not ctypes.util.find_library("ucp"):
        pytest.skip("UCX is not installed")
    for rail in "none0", "none0:1", "none0@127.0.0.1":
        r = pull(prefill, "--transport", "ucx", "--rails", rail)
        assert r.returncode != 0 and "'none0:1' is not available" in r.stdout + r.stderr, (rail, r)


def test_baseline_is_measured_in_the_same_run(prefill):
    b = pulled(prefill, "--baseline")["baseline"]
    assert b["tool"].startswith("sequential send and recv") and b["GBps"] > 0 and b["share"] > 0


def test_wrong_secret_is_one_clear_error(prefill):
    r = pull(prefill, env={**ENV, "KVRAIL_KV_SECRET": "coffee"})
    assert r.returncode == 1 and "does not know this side's secret" in r.stderr and len(r.stderr.splitlines()) == 1


def test_no_secret_says_how_to_give_one():
    r = subprocess.run([KV, "serve"], env={k: v for k, v in ENV.items() if k != "KVRAIL_KV_SECRET"}, capture_output=True, text=True, timeout=10)
    assert r.returncode == 1 and "--secret-file" in r.stderr


def test_secret_file_is_read(tmp_path, prefill):
    (tmp_path / "s").write_text("tea\n")
    env = {k: v for k, v in ENV.items() if k != "KVRAIL_KV_SECRET"}
    assert pull(prefill, "--secret-file", str(tmp_path / "s"), env=env).returncode == 0
    (tmp_path / "s").write_text("\n")
    r = pull(prefill, "--secret-file", str(tmp_path / "s"), env=env)
    assert r.returncode == 1 and "is empty" in r.stderr


def test_another_model_is_refused(prefill):
    r = pull(prefill, "-m", "llama-3-70b")
    assert r.returncode == 1 and "another model" in r.stderr


def test_port_survives_garbage_other_versions_and_strangers(prefill):
    rng = random.Random(1)
    hello = b"KVRL" + struct.pack("<HHI", 1, 1, 32) + bytes(32)
    for i in range(60):
        with socket.create_connection(("127.0.0.1", prefill.port)) as s:
            junk = rng.randbytes(rng.randrange(1, 200))
            s.sendall([junk, hello + junk, b"KVRL" + junk, hello[:rng.randrange(44)], b"GET / HTTP/1.1\r\n\r\n"][i % 5])
            s.settimeout(5)
            try:
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
            except OSError as e:
                assert not isinstance(e, TimeoutError), "the server hangs on garbage"
    with socket.create_connection(("127.0.0.1", prefill.port)) as s:
        s.sendall(b"KVRL" + struct.pack("<HHI", 9, 1, 32) + bytes(32))
        s.settimeout(5)
        reply = s.recv(4096)
    assert b"version 9" in reply and b"this side 1" in reply
    assert pull(prefill, "--transport", "tcp").returncode == 0


def test_memory_is_not_given_to_a_peer_that_proved_nothing(prefill):
    with socket.create_connection(("127.0.0.1", prefill.port)) as s:
        s.sendall(b"KVRL" + struct.pack("<HHI", 1, 5, 30 << 20))
        s.settimeout(5)
        assert b"before it proved the secret" in s.recv(4096)


def frame(kind, payload):
    return b"KVRL" + struct.pack("<HHI", 1, kind, len(payload)) + payload


def prove(port):
    """A connection that knows the secret, and asks for nothing."""
    s = socket.create_connection(("127.0.0.1", port), timeout=8)
    mine = bytes(32)
    s.sendall(frame(1, mine))
    theirs = s.recv(44, socket.MSG_WAITALL)[12:]
    s.sendall(frame(3, hmac.digest(b"tea", b"client\0" + mine + theirs, hashlib.sha256)))
    assert s.recv(44, socket.MSG_WAITALL)[:8] == b"KVRL" + struct.pack("<HH", 1, 4)
    return s


def test_strangers_keep_no_decode_out():
    with Prefill("-t", "64") as server, contextlib.ExitStack() as strangers:
        for _ in range(100):
            strangers.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=8)).sendall(b"K")
        assert pull(server, "--transport", "tcp", timeout=8).returncode == 0
    assert "made room for another before it proved the secret" in server.err


@pytest.mark.parametrize("proven", [3, 64])
def test_server_ends_when_told_to_whoever_is_connected(proven):
    with Prefill("-t", "64") as server, contextlib.ExitStack() as guests:
        for _ in range(proven):
            guests.enter_context(prove(server.port))
        for _ in range(3):
            guests.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=8))
        server.p.send_signal(signal.SIGTERM)
        assert server.p.wait(timeout=5) == 0


def fake_server(reply):
    s = socket.create_server(("127.0.0.1", 0))
    if os.fork() == 0:
        c, _ = s.accept()
        if reply:
            c.recv(4096)
            c.sendall(reply)
        else:
            time.sleep(30)
        os._exit(0)
    port = s.getsockname()[1]
    s.close()
    return type("S", (), {"address": f"127.0.0.1:{port}"})


@pytest.mark.parametrize("reply, text", [
    (b"KVRL" + struct.pack("<HHI", 2, 2, 32) + bytes(32), "speaks version 2 of kvrail-kv's protocol, this side 1"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak kvrail-kv's protocol"),
    (b"KVRL" + struct.pack("<HHI", 1, 2, 5) + bytes(5), "CHALLENGE is malformed"),
    (None, "nothing came for 1 s"),
])
def test_server_that_is_none_is_one_clear_error(reply, text):
    r = pull(fake_server(reply), "--timeout", "1", timeout=15)
    assert r.returncode == 1 and text in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr


def test_prefill_killed_during_a_transfer_is_one_clear_error():
    with Prefill("-t", "4096") as server:
        p = subprocess.Popen([KV, "pull", "-n", "100000", "--transport", "tcp", "--checksum", "off", server.address], env=ENV, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        time.sleep(3)
        assert p.poll() is None
        server.p.kill()
        out, err = p.communicate(timeout=15)
    assert p.returncode == 1 and len(err.splitlines()) == 1 and "closed the connection" in err, err


def test_prefill_that_hangs_during_a_transfer_is_given_up():
    with Prefill("-t", "4096") as server:
        p = subprocess.Popen([KV, "pull", "-n", "100000", "--timeout", "2", "--transport", "tcp", "--checksum", "off", server.address], env=ENV,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(3)
        server.p.send_signal(signal.SIGSTOP)
        try:
            out, err = p.communicate(timeout=75)  # between handoffs the control channel's own patience counts
        finally:
            server.p.send_signal(signal.SIGCONT)
    assert p.returncode == 1 and len(err.splitlines()) == 1 and ("no byte moved" in err or "nothing came" in err), err


def test_decode_killed_during_a_transfer_leaves_the_server_well():
    with Prefill("-t", "4096") as server:
        for _ in range(3):
            p = subprocess.Popen([KV, "pull", "-n", "100000", "--transport", "tcp", "--checksum", "off", server.address], env=ENV,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1.5)
            p.kill()
            p.wait()
        assert pull(server, "--transport", "tcp").returncode == 0


def test_help_and_mistakes():
    for words in ["--help"], ["serve", "--help"], ["pull", "--help"], ["bench", "--help"]:
        r = subprocess.run([KV, *words], capture_output=True, text=True, timeout=10)
        assert r.returncode == 0 and "usage: kvrail-kv" in r.stdout
    for words, text in [(["pul"], "did you mean pull"), (["pull", "--handofs", "3", "x"], "did you mean --handoffs"),
                        (["pull", "-n", "0", "x"], "from 1 to"), (["pull"], "at least one argument"), (["pull", "--op", "steal", "x"], "read, write"),
                        (["serve", "-o"], "needs a value")]:
        r = subprocess.run([KV, *words], capture_output=True, text=True, timeout=10, env=ENV)
        assert r.returncode == 2 and text in r.stderr, (words, r.stderr)
