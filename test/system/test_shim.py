# SPDX-License-Identifier: Apache-2.0
"""The CNI shim against a fake agent on a unix socket."""
import base64
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

SOURCE = pathlib.Path(os.environ.get("KVRAIL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
SHIM = SOURCE / os.environ.get("KVRAIL_BUILD", "build-asan") / "kvrail-cni"
CONF = json.dumps({"cniVersion": "1.0.0", "name": "roce", "type": "kvrail"})
CNI = {"CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/x", "CNI_IFNAME": "net1", "CNI_PATH": "/opt/cni/bin",
       "CNI_ARGS": 'K8S_POD_NAME="p\t"'}

pytestmark = pytest.mark.skipif(not SHIM.exists(), reason=f"{SHIM} is not built")


class Agent(threading.Thread):
    """Takes one connection, keeps the request, sends `reply` (None: hangs up) and closes."""

    def __init__(self, path, reply):
        super().__init__(daemon=True)
        self.reply, self.request = reply, b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.start()

    def run(self):
        conn, _ = self.listener.accept()
        with conn:
            while b"\r\n\r\n" not in self.request:
                self.request += conn.recv(65536)
            head, body = self.request.split(b"\r\n\r\n", 1)
            want = int(re.search(rb"Content-Length: (\d+)", head).group(1))
            while len(body) < want:
                body += conn.recv(65536)
            self.body = body
            if self.reply is not None:
                conn.sendall(self.reply)
        self.listener.close()


def http(status, body):
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@pytest.fixture
def shim(tmp_path):
    def run(command, conf=CONF, env=None, name=None, **kw):
        program = SHIM
        if name:
            program = tmp_path / name
            if not program.exists():
                shutil.copy2(SHIM, program)
        e = {"KVRAIL_SOCKET": str(tmp_path / "sock"), "KVRAIL_SPOOL": str(tmp_path / "a/spool"), "KVRAIL_WAIT_MS": "200",
             **CNI, **(env or {})}
        if command:
            e["CNI_COMMAND"] = command
        return subprocess.run([program], input=conf, env=e, capture_output=True, text=True, timeout=30, **kw)

    run.dir = tmp_path
    return run


@pytest.mark.parametrize("name", ["kvrail", "multus", "multus-shim", "sriov", "ib-sriov", "rdma", "whereabouts"])
def test_version_is_answered_without_an_agent_under_every_name(shim, name):
    r = shim("VERSION", conf="", name=name)
    assert r.returncode == 0
    v = json.loads(r.stdout)
    assert v["cniVersion"] == "1.1.0"
    assert v["supportedVersions"] == ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]


def test_without_a_command_it_says_what_it_is(shim):
    r = shim(None)
    assert r.returncode == 0 and r.stdout == "" and "kvrail-cni" in r.stderr and "1.1.0" in r.stderr


def test_an_unknown_command_is_an_invalid_environment(shim):
    r = shim("ATTACH")
    e = json.loads(r.stdout)
    assert r.returncode == 1 and e["code"] == 4 and "ATTACH" in e["details"]


def test_the_request_carries_environment_and_configuration(shim):
    agent = Agent(shim.dir / "sock", http(200, b'{ "x": ["}", {"Result": 1}], "Result": {"cniVersion":"1.0.0","a":"\\"}"} , "y":2}'))
    r = shim("ADD", env={"SECRET": "s"})
    agent.join()
    sent = json.loads(agent.body)
    assert sent["env"] == {**CNI, "CNI_COMMAND": "ADD"}
    assert base64.b64decode(sent["config"]).decode() == CONF
    assert agent.request.startswith(b"POST /cni HTTP/1.")
    assert r.returncode == 0 and json.loads(r.stdout) == {"cniVersion": "1.0.0", "a": '"}'}


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000003, 1 << 20])
def test_configurations_of_any_length_arrive_whole(shim, n):
    agent = Agent(shim.dir / "sock", http(200, b'{"Result": null}'))
    conf = ("x" * n)
    r = shim("DEL", conf=conf)
    agent.join()
    assert base64.b64decode(json.loads(agent.body)["config"]).decode() == conf
    assert r.returncode == 0 and r.stdout == ""


def test_a_configuration_above_one_mebibyte_is_refused(shim):
    r = shim("ADD", conf="x" * ((1 << 20) + 1))
    assert r.returncode == 1 and json.loads(r.stdout)["code"] == 6 and "1 MiB" in r.stdout


@pytest.mark.parametrize("code", [7, 11, 50, 51, 100, 999])
def test_the_agents_error_reaches_the_runtime_unchanged(shim, code):
    error = {"cniVersion": "1.0.0", "code": code, "msg": "no VF left", "details": "p2rdma"}
    Agent(shim.dir / "sock", http(400, json.dumps(error).encode()))
    r = shim("ADD")
    assert r.returncode == 1 and json.loads(r.stdout) == error


def test_a_refusal_in_plain_text_becomes_an_error_with_these_words(shim):
    Agent(shim.dir / "sock", http(413, b"too\nlarge"))
    e = json.loads(shim("ADD").stdout)
    assert e["code"] == 999 and e["details"] == "too\nlarge" and e["cniVersion"] == "1.0.0"


@pytest.mark.parametrize("command,code", [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)])
def test_without_an_agent_the_error_says_so(shim, command, code):
    started = time.monotonic()
    r = shim(command)
    took = time.monotonic() - started
    e = json.loads(r.stdout)
    assert r.returncode == 1 and e["code"] == code and "agent" in e["msg"] and e["cniVersion"] == "1.0.0"
    if command == "ADD":
        assert took >= 0.15
    assert not (shim.dir / "a").exists()


def test_add_waits_for_an_agent_that_comes_up(shim):
    started = []

    def later():
        time.sleep(0.4)
        started.append(Agent(shim.dir / "sock", http(200, b'{"Result": {"cniVersion": "1.0.0"}}')))

    threading.Thread(target=later).start()
    r = shim("ADD", env={"KVRAIL_WAIT_MS": "10000"})
    assert started and r.returncode == 0 and json.loads(r.stdout) == {"cniVersion": "1.0.0"}


def spooled(shim):
    return sorted((shim.dir / "a/spool").iterdir())


def test_del_without_an_agent_is_spooled_and_succeeds(shim):
    for ifname in "net1", "net2":
        r = shim("DEL", env={"CNI_IFNAME": ifname})
        assert r.returncode == 0 and r.stdout == ""
    files = spooled(shim)
    assert [json.loads(f.read_text())["env"]["CNI_IFNAME"] for f in files] == ["net1", "net2"]  # names sort by time
    assert all(f.suffix == ".json" and f.stat().st_mode & 0o777 == 0o600 for f in files)
    assert base64.b64decode(json.loads(files[0].read_text())["config"]).decode() == CONF


@pytest.mark.parametrize("reply", [None, b"HTTP/1.", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"])
def test_an_agent_that_dies_within_a_request_spools_del_and_fails_add(shim, reply):
    Agent(shim.dir / "sock", reply)
    assert shim("DEL").returncode == 0
    assert len(spooled(shim)) == 1
    os.unlink(shim.dir / "sock")
    Agent(shim.dir / "sock", reply)
    r = shim("ADD")
    assert r.returncode == 1 and json.loads(r.stdout)["code"] == 11


def test_del_that_can_neither_be_sent_nor_spooled_fails(shim):
    (shim.dir / "a").write_text("a file, no folder")
    r = shim("DEL")
    assert r.returncode == 1 and json.loads(r.stdout)["code"] == 11 and "kept" in json.loads(r.stdout)["msg"]


@pytest.mark.parametrize("body", [b"{", b'{"Result"', b'{"Result": {"a": [1,2', b"[]", b"", b'{"Result": "\\', b'{"Result"}'])
def test_a_malformed_success_is_an_error_and_never_half_a_result(shim, body):
    Agent(shim.dir / "sock", http(200, body))
    r = shim("ADD")
    assert r.returncode == 1 and json.loads(r.stdout)["code"] == 999
