# SPDX-License-Identifier: Apache-2.0
"""The CNI shim against a fake agent on a unix socket."""
import base64
import json
import os
import pathlib
import re
import resource
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
    assert sent["env"] == {**CNI, "CNI_COMMAND": "ADD", "CNI_KVRAIL_PLUGIN": "kvrail-cni"}
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
    if command == "STATUS":
        assert "`systemctl status kvrail-agent`" in e["msg"] and "DaemonSet kvrail-agent" in e["msg"]
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


class Conversation(threading.Thread):
    """An agent that takes one request after another: `steps` are replies, or functions of the request's body that make one."""

    def __init__(self, path, *steps):
        super().__init__(daemon=True)
        self.path, self.steps, self.requests = path, steps, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.start()

    def run(self):
        for step in self.steps:
            conn, _ = self.listener.accept()
            with conn:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += conn.recv(65536)
                head, body = data.split(b"\r\n\r\n", 1)
                want = int(re.search(rb"Content-Length: (\d+)", head).group(1))
                while len(body) < want:
                    body += conn.recv(65536)
                self.requests.append((head.split(b" HTTP")[0].decode(), json.loads(body)))
                conn.sendall(step)
        self.listener.close()


def order(path, env="CNI_COMMAND=ADD\0CNI_IFNAME=eth0\0", stdin="{}", timeout=20, id="7\\u0041"):
    b64 = lambda s: base64.b64encode(s.encode() if isinstance(s, str) else s).decode()  # noqa: E731
    return http(200, (f'{{"Exec": {{"id": "{id}", "path": "{b64(path)}", "env": "{b64(env)}", "in": "{b64(stdin)}", '
                      f'"timeout": {timeout}}}}}').encode())


RESULT = http(200, b'{"Result": {"cniVersion": "1.0.0"}}')


def script(shim, text):
    path = shim.dir / "plugin"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def decoded(answer):
    return {k: base64.b64decode(v).decode() if k in ("out", "err") else v for k, v in answer.items()}


def test_a_plugin_is_run_for_the_agent_with_the_runtimes_surroundings(shim):
    """The agent's container has no iptables, no other plugin's files: what the runtime executes has the host's."""
    path = script(shim, 'cat; echo; echo "$CNI_COMMAND $CNI_IFNAME ${CNI_NETNS:-none} $OTHER"; echo oops >&2; exit 3')
    stdin = "x" * 300000 + '"\n'
    agent = Conversation(shim.dir / "sock", order(path, stdin=stdin), RESULT)
    r = shim("ADD", env={"OTHER": "kept"})
    agent.join()
    assert r.returncode == 0 and json.loads(r.stdout) == {"cniVersion": "1.0.0"}
    (first, asked), (second, answer) = agent.requests
    assert first == "POST /cni" and asked["exec"] is True and second == "POST /cni/exec"
    assert decoded(answer) == {"id": "7A", "status": 3, "out": stdin + "\nADD eth0 none kept\n", "err": "oops\n"}


def test_several_plugins_in_turn_and_then_an_error_of_the_agent(shim):
    path = script(shim, "exit 0")
    error = {"cniVersion": "1.0.0", "code": 11, "msg": "the default network failed"}
    agent = Conversation(shim.dir / "sock", order(path, id="1"), order(path, id="2"), http(400, json.dumps(error).encode()))
    r = shim("ADD")
    assert r.returncode == 1 and json.loads(r.stdout) == error
    assert [a["id"] for _, a in agent.requests[1:]] == ["1", "2"]


def test_however_many_plugins_are_ordered_the_result_is_what_comes_last(shim):
    """After a reboot the first pod's request ends the deletions of all others: two plugins for each."""
    Conversation(shim.dir / "sock", *[order("/nonexistent/bridge", id=str(i)) for i in range(100)], RESULT)
    r = shim("ADD")
    assert r.returncode == 0 and json.loads(r.stdout) == {"cniVersion": "1.0.0"}, r.stdout


def test_a_plugin_that_is_not_there_is_told_by_its_errno(shim):
    agent = Conversation(shim.dir / "sock", order("/nonexistent/bridge"), RESULT)
    shim("ADD")
    agent.join()
    assert agent.requests[1][1]["errno"] == 2 and "status" not in agent.requests[1][1]


def test_a_plugin_that_hangs_is_killed_with_its_children(shim):
    path = script(shim, f"echo begun; sleep 300 & echo $! > {shim.dir}/child; wait")
    agent = Conversation(shim.dir / "sock", order(path, timeout=1), RESULT)
    started = time.monotonic()
    assert shim("ADD").returncode == 0
    assert time.monotonic() - started < 10
    answer = decoded(agent.requests[1][1])
    assert answer["timeout"] is True and answer["status"] == 137 and answer["out"] == "begun\n"
    child = (shim.dir / "child").read_text().strip()
    for _ in range(50):
        if not os.path.exists(f"/proc/{child}") or "State:\tZ" in pathlib.Path(f"/proc/{child}/status").read_text():
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the child lives on")


def test_of_a_plugin_that_prints_without_end_a_bounded_part_is_kept(shim):
    path = script(shim, "yes out | head -c 3000000; yes err | head -c 200000 >&2; echo last >&2")
    agent = Conversation(shim.dir / "sock", order(path), RESULT)
    shim("ADD")
    answer = decoded(agent.requests[1][1])
    assert len(answer["out"]) == 1 << 20 and len(answer["err"]) <= 64 << 10 and answer["err"].endswith("last\n")


@pytest.mark.parametrize("bad", ['"no object"', "{}", '{"id": "1", "path": "!!!!", "env": "", "in": "", "timeout": 1}',
                                 '{"id": "1", "path": "cGx1Z2lu", "env": "", "in": "", "timeout": 1}'])
def test_an_order_that_makes_no_sense_is_an_error(shim, bad):
    Conversation(shim.dir / "sock", http(200, b'{"Exec": ' + bad.encode() + b"}"))
    e = json.loads(shim("ADD").stdout)
    assert e["code"] == 999 and "plugin" in e["msg"]


def test_an_agent_that_dies_after_its_order_gets_del_by_the_spool(shim):
    path = script(shim, "exit 0")
    Conversation(shim.dir / "sock", order(path, env="CNI_COMMAND=DEL\0"))
    assert shim("DEL").returncode == 0
    (kept,) = spooled(shim)
    assert json.loads(kept.read_text())["env"]["CNI_COMMAND"] == "DEL"


# -- the hook of containers with RDMA devices ------------------------------------------------------------------------
def hook(state):
    return subprocess.run([str(SHIM), "memlock"], input=state, capture_output=True, text=True, timeout=20)


def test_the_hook_lifts_the_limit_of_one_process():
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    caps = int(re.search(r"CapEff:\s+(\w+)", pathlib.Path("/proc/self/status").read_text()).group(1), 16)
    if hard != resource.RLIM_INFINITY and not caps >> 24 & 1:
        pytest.skip("needs CAP_SYS_RESOURCE, as a container runtime has it")
    lower = (65536, hard if not caps >> 24 & 1 else 65536)
    with subprocess.Popen(["sleep", "60"]) as p, subprocess.Popen(["sleep", "60"]) as other:
        try:
            for process in p, other:
                resource.prlimit(process.pid, resource.RLIMIT_MEMLOCK, lower)
            r = hook(json.dumps({"ociVersion": "1.2.0", "id": "x", "status": "creating", "annotations": {"pid": str(other.pid)}, "pid": p.pid}))
            assert r.returncode == 0, r.stderr
            assert resource.prlimit(p.pid, resource.RLIMIT_MEMLOCK) == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            assert resource.prlimit(other.pid, resource.RLIMIT_MEMLOCK)[0] == 65536
        finally:
            p.kill()
            other.kill()


@pytest.mark.parametrize("state", ["", "{", "[]", '{"pid":0}', '{"pid":1}', '{"pid":"7"}', '{"pid":-7}', '{"annotations":{"pid":7}}',
                                   '{"pid":99999999999}', '{"pid":7'])
def test_the_hook_takes_nothing_else_for_a_container(state):
    r = hook(state)
    assert r.returncode == 1 and r.stderr.startswith("kvrail-hook: stdin is no state of a container")


def test_the_shim_tells_under_which_name_it_was_called(shim, tmp_path):
    agent = Agent(tmp_path / "s", http(200, b'{"Result":{}}'))
    shim("ADD", name="whereabouts", env={"KVRAIL_SOCKET": str(tmp_path / "s"), "CNI_KVRAIL_PLUGIN": "other"})
    agent.join(5)
    assert json.loads(agent.body)["env"]["CNI_KVRAIL_PLUGIN"] == "whereabouts"
