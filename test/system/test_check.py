# SPDX-License-Identifier: Apache-2.0
"""kvrail-kv check between two network namespaces: what packets and processes prove without RDMA."""
import json
import os
import pathlib
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


@pytest.fixture
def pods():
    """Two namespaces, kvt-a 10.9.0.1 and kvt-b 10.9.1.1, with net1 of 9000 bytes each, and a router between."""
    names = ["kvt-a", "kvt-b", "kvt-router"]
    for n in names:
        subprocess.run(["ip", "netns", "del", n], capture_output=True)
        ip("netns", "add", n)
    try:
        for i, n in enumerate(names[:2]):
            ip("link", "add", "net1", "netns", n, "type", "veth", "peer", "name", f"p{i}", "netns", "kvt-router")
            ip("-n", "kvt-router", "link", "set", f"p{i}", "mtu", "9000", "up")
            ip("-n", "kvt-router", "addr", "add", f"10.9.{i}.254/24", "dev", f"p{i}")
            ip("-n", n, "link", "set", "net1", "mtu", "9000", "up")
            ip("-n", n, "addr", "add", f"10.9.{i}.1/24", "dev", "net1")
            ip("-n", n, "route", "add", "default", "via", f"10.9.{i}.254")
        subprocess.run(["ip", "netns", "exec", "kvt-router", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], check=True)
        yield names
    finally:
        for n in names:
            subprocess.run(["ip", "netns", "del", n], capture_output=True)


def check(ns, *args, **options):
    return subprocess.Popen(["ip", "netns", "exec", ns, str(BUILD / "kvrail-kv"), "check", *args], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def between(rail_a="net1,address=10.9.0.1/24,network=n", rail_b="net1,address=10.9.1.1/24,network=n"):
    """Lines as the client sees them, and both exit codes."""
    server = check("kvt-b", "--rail", rail_b, "--listen", "--timeout", "30", "-o", "json")
    assert "listening" in server.stderr.readline()
    client = check("kvt-a", "--rail", rail_a, "--peer", "10.9.1.1", "--timeout", "30", "-o", "json")
    out, err = client.communicate(timeout=60)
    server_out, _ = server.communicate(timeout=60)
    assert out, err
    lines = json.loads(out)["lines"]
    paths = [line for line in lines if line["where"] == "path"]
    assert paths == [line for line in json.loads(server_out)["lines"] if line["where"] == "path"]  # both sides tell the same
    return lines, paths, client.returncode, server.returncode


def test_full_size_packets_pass_and_both_sides_are_good(pods):
    lines, paths, client, server = between()
    assert [line["verdict"] for line in paths] == ["ok"] and paths[0]["check"] == "9000-byte path"
    assert (client, server) == (0, 0)


def test_small_mtu_of_the_own_interface_is_found(pods):
    ip("-n", "kvt-a", "link", "set", "net1", "mtu", "4000")
    lines, paths, client, server = between()
    assert "net1 here takes only 4000 bytes" in paths[0]["found"]
    assert any(line["where"] == "here" and line["check"] == "interface" and line["verdict"] == "BAD" for line in lines)
    assert (client, server) == (3, 3)


def test_small_mtu_of_the_peer_is_found(pods):
    ip("-n", "kvt-b", "link", "set", "net1", "mtu", "1500")
    lines, paths, client, _ = between()
    assert paths[0]["verdict"] == "BAD" and "peer's net1" in paths[0]["do"]
    assert any(line["where"] == "peer" and line["check"] == "interface" and line["verdict"] == "BAD" for line in lines)
    assert client == 3


def test_a_switch_that_is_too_narrow_is_measured(pods):
    for port in "p0", "p1":
        ip("-n", "kvt-router", "link", "set", port, "mtu", "4000")
    lines, paths, client, _ = between()
    assert paths[0]["verdict"] == "BAD" and "switch" in paths[0]["do"]
    most = int(paths[0]["found"].split("at most ")[1].split()[0])
    assert 3990 <= most <= 4004  # a veth lets a VLAN tag's worth more through
    assert all(line["verdict"] != "BAD" for line in lines if line["where"] != "path")
    assert client == 3


def test_rails_of_different_networks_are_no_pair(pods):
    _, paths, client, _ = between(rail_b="net1,address=10.9.1.1/24,network=other")
    assert [line["check"] for line in paths] == ["partner"] and "net1 on other" in paths[0]["found"]
    assert client == 3


def test_missing_interface_and_address_are_found(pods):
    r = check("kvt-a", "--rail", "net7,address=10.9.0.1/24", "-o", "json")
    lines = json.loads(r.communicate(timeout=30)[0])["lines"]
    assert r.returncode == 3
    assert {line["check"] for line in lines if line["verdict"] == "BAD"} == {"interface", "address"}


def test_memory_limit_of_the_pods_program_is_found(pods):
    engine = subprocess.Popen(["ip", "netns", "exec", "kvt-a", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit",
                               "--memlock=8388608", "sleep", "60"])
    try:
        time.sleep(0.5)
        r = check("kvt-a", "--rail", "net1", "-o", "json")
        lines = json.loads(r.communicate(timeout=30)[0])["lines"]
        bad = [line for line in lines if line["verdict"] == "BAD"]
        assert [line["check"] for line in bad] == ["locked memory"] and "8192 KiB for sleep" in bad[0]["found"]
    finally:
        engine.kill()
        engine.wait()


def test_nobody_listening_is_one_error(pods):
    r = check("kvt-a", "--rail", "net1", "--peer", "10.9.1.1", "--timeout", "5")
    _, err = r.communicate(timeout=30)
    assert r.returncode == 1 and "10.9.1.1" in err


@pytest.mark.parametrize("rail", ["", "net1,mtu=9", "net1,colour=red", "net1,port", "a/b", "net1,gid=-1"])
def test_bad_rail_is_refused_with_its_text(rail):
    r = subprocess.run([str(BUILD / "kvrail-kv"), "check", "--rail", rail], capture_output=True, text=True)
    assert r.returncode == 1 and f"--rail {rail}" in r.stderr


def test_a_stranger_on_the_port_is_refused_and_nothing_hangs(pods):
    server = check("kvt-b", "--rail", "net1", "--listen", "--timeout", "20")
    assert "listening" in server.stderr.readline()
    subprocess.run(["ip", "netns", "exec", "kvt-a", "bash", "-c", "exec 3<>/dev/tcp/10.9.1.1/5701; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; sleep 2"], check=True)
    _, err = server.communicate(timeout=30)
    assert server.returncode == 1 and "no kvrail check" in err
