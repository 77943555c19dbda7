# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what every other lab test takes for granted."""
import re
import subprocess
import sys
import threading
import time
import types

import pytest

import rails
from lab.guest import CommandTimeout, Guest, Lab, LabError, TREE

pytestmark = pytest.mark.lab


def test_every_port_is_sriov_capable_and_has_carrier(two_nodes):
    for n in two_nodes:
        assert n.sh("cat /sys/class/net/p[01]/device/sriov_totalvfs").split() == ["7", "7"]
        assert n.sh("cat /sys/class/net/p[01]/device/device").split() == ["0x10c9", "0x10c9"]
        n.wait_for("[ $(cat /sys/class/net/p[01]/carrier | tr -d '\\n') = 11 ]", timeout=20)


def test_the_rdma_subsystem_is_in_exclusive_mode(two_nodes):
    for n in two_nodes:
        assert "netns exclusive" in n.sh("rdma system")


def test_a_guest_sees_this_tree_and_writes_stay_in_the_guest(two_nodes):
    a, b = two_nodes
    name = TREE / "written-by-a-guest"
    a.sh(f"test -e {TREE}/lab/init && echo x >{name}")
    assert a.sh(f"cat {name}") == "x"
    assert not name.exists() and b.run(f"test -e {name}").rc == 1
    a.sh(f"rm {name}")


def test_commands_run_side_by_side_and_report_their_own_status(two_nodes):
    a, _ = two_nodes
    slow = a.spawn("sleep 2; echo slow; exit 7")
    assert a.run("echo fast; echo err >&2; exit 3").rc == 3
    assert slow.rc is None
    r = slow.wait(20)
    assert (r.rc, r.out, r.err) == (7, "slow\n", "")
    assert a.run("kill -9 $$").rc == -9


def test_a_background_process_survives_the_command_that_started_it(two_nodes):
    a, _ = two_nodes
    pid = a.sh("sleep 600 & echo $!")
    a.sh(f"kill {pid}")


def test_a_command_that_hangs_is_killed_with_its_children(two_nodes):
    a, _ = two_nodes
    with pytest.raises(CommandTimeout, match="ran longer than 1 s"):
        a.run("sleep 4321 | cat", timeout=1)
    assert a.run("ps ax | grep -q '[s]leep 4321'").rc == 1


def test_files_go_in_and_come_out_whole(two_nodes):
    a, _ = two_nodes
    data = bytes(range(256)) * 4000
    a.put("/tmp/lab/in", data, 0o640)
    assert a.sh("stat -c %a /tmp/lab/in") == "640"
    assert a.get("/tmp/lab/in") == data
    assert a.run("head -c 300000 /dev/zero | tr '\\0' x").out == "x" * 300000


def test_jumbo_frames_pass_between_the_vfs_of_two_nodes_on_each_link(two_nodes):
    a, b = two_nodes
    for port in 0, 1:
        rails.make_vf(a, port, "t", f"net{port + 1}", f"10.0.{port}.1")
        rails.make_vf(b, port, "t", f"net{port + 1}", f"10.0.{port}.2")
    for port in 0, 1:
        a.wait_for(f"ip netns exec t ping -M do -s 8972 -c 1 -W 1 10.0.{port}.2", timeout=30)
        assert a.run(f"ip netns exec t ping -M do -s 8973 -c 1 -W 1 10.0.{port}.2").rc != 0
    for n in a, b:
        rails.remove(n, "t")


def test_rdma_reads_pass_between_the_nodes_by_soft_roce(two_nodes):
    a, b = two_nodes
    for n, address in (a, "10.0.0.1"), (b, "10.0.0.2"):
        rails.make_vf(n, 0, "t", "net1", address)
        dev = rails.add_rxe(n, "t", "net1")
        assert dev not in n.sh("ls /sys/class/infiniband")
        assert n.sh("ip netns exec t ls /sys/class/infiniband") == dev
    a.wait_for("ip netns exec t ping -c 1 -W 1 10.0.0.2", timeout=30)
    arguments = "ib_read_bw -d rxe_net1 -x 1 -s 65536 -n 50 -F"
    server = a.spawn(f"ip netns exec t {arguments}")
    a.wait_for("ip netns exec t ss -ltn | grep -q :18515", timeout=30)
    client = b.run(f"ip netns exec t {arguments} 10.0.0.1", timeout=120)
    assert client.rc == 0, client
    assert server.wait(60).rc == 0
    assert re.search(r"^ 65536 +50 +\d", client.out, re.M), client.out
    assert rails.counter(b, "t", "rxe_net1", "rcvd_pkts") >= 50 * 16  # 64 KiB in 4096-byte packets
    for n in a, b:
        rails.remove(n, "t")


def test_a_power_cycle_keeps_the_disk_and_the_link(two_nodes):
    for n in two_nodes:
        n.sh("mkdir -p /var/lib/lab-test; echo kept >/var/lib/lab-test/file; sync; echo gone >/run/file; ip netns add gone")
        n.power_cycle()
        assert n.sh("cat /var/lib/lab-test/file") == "kept"
        assert n.run("test -e /run/file").rc == 1
        assert n.sh("ip netns") == ""
    a, b = two_nodes
    a.sh("ip addr add 10.9.0.1/24 dev p0")
    b.sh("ip addr add 10.9.0.2/24 dev p0")
    a.wait_for("ping -c 1 -W 1 10.9.0.2", timeout=30)


SLOW_GUEST = """
import json, os, socket, sys, time
channel = socket.socket(fileno=int(sys.argv[1]))
if os.fork():
    time.sleep(0.5)
    channel.sendall(b'{"hello": 0.5}\\n')
    time.sleep(600)
os.setsid()
while os.getppid() != 1: time.sleep(0.01)
time.sleep(0.1)
"""


def test_the_end_of_one_boot_is_not_taken_for_the_beginning_of_the_next(tmp_path, monkeypatch):
    """A command that was sent before the guest listens lost its first bytes to the serial port. In QEMU's place: a program that is slow to be gone."""
    start = subprocess.Popen

    def slow(*arguments, **options):
        time.sleep(0.2)
        return start(*arguments, **options)

    monkeypatch.setattr("lab.guest.LOGS", tmp_path)
    monkeypatch.setattr(subprocess, "Popen", slow)
    monkeypatch.setattr(Guest, "_arguments", lambda self, channel: [sys.executable, "-c", SLOW_GUEST, str(channel)])
    g = Guest(types.SimpleNamespace(dir=tmp_path, name="slow"), 1)
    g.power_on()
    g.power_off()
    g.power_on()
    assert g.boot_seconds > 0.5 and not g.dead
    g.power_off()


def test_a_command_of_a_guest_that_dies_ends_with_an_error(boot):
    (g,) = boot()
    caught = []

    def wait():
        try:
            g.run("sleep 600", timeout=300)
        except LabError as e:
            caught.append(e)

    t = threading.Thread(target=wait)
    t.start()
    g.power_off()
    t.join(20)
    assert not t.is_alive() and "went away" in str(caught[0])


def test_three_nodes_are_refused():
    with pytest.raises(LabError, match="1 to 2"):
        Lab(nodes=3)
