#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ADD and DEL on veths: one rail against the netlink calls it needs, eight rails against one. Needs root."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from rows import BUILD, row, skip

ROUNDS, TURNS, RAILS = 20, 5, 8
TAG = f"kvb-{os.getpid()}"
HOST, FAR, POD = f"{TAG}-h", f"{TAG}-f", f"{TAG}-p"
ONE, EIGHT = "ADD + DEL of one rail against the netlink calls it needs", f"{RAILS} rails in one pod against one rail"
IPAM = {"type": "whereabouts", "range": "10.200.0.0/16"}


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def inside(*args, **env):
    r = subprocess.run(["ip", "netns", "exec", HOST, *map(str, args)], capture_output=True, text=True, env={**os.environ, **env})
    if r.returncode:
        sys.exit(f"{args}: {r.stdout}{r.stderr}")
    return float(r.stdout)


def main():
    driver, netlink = BUILD / "test/system/attach_driver", BUILD / "bench/attach/netlink"
    devices = [f"d{i}" for i in range(RAILS)]
    pod = f"/run/netns/{POD}"
    one = json.dumps({"cniVersion": "1.0.0", "name": "one", "type": "kvrail", "resourceName": "r", "mtu": 9000, "ipam": IPAM})
    eight = json.dumps({"cniVersion": "1.0.0", "name": "eight", "type": "kvrail", "networks": ",".join(["a"] * RAILS)})
    times = {"netlink": [], "one": [], "eight": []}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as state:
        os.mkdir(f"{state}/nads")
        nad = {"name": "a", "plugins": [{"type": "sriov", "ipam": IPAM}, {"type": "tuning", "mtu": 9000}]}
        pathlib.Path(state, "nads/t.a.json").write_text(json.dumps(nad))
        for _ in range(TURNS):
            times["netlink"].append(inside(netlink, ROUNDS, pod, "d0"))
            times["one"].append(inside(driver, state, "bench", ROUNDS, pod, KVRAIL_TEST_DEVICES=" ".join(devices), CONF=one))
            times["eight"].append(inside(driver, state, "bench", ROUNDS, pod, KVRAIL_TEST_DEVICES=" ".join(devices), CONF=eight))
    t = {k: statistics.median(v) for k, v in times.items()}
    ratio, ratio8 = t["one"] / t["netlink"], t["eight"] / t["one"]
    row(ONE, f"{ratio:.2f}x ({t['one'] / 1000:.1f} / {t['netlink'] / 1000:.1f} ms)", "<= 1.3x", ratio <= 1.3)
    row(EIGHT, f"{ratio8:.2f}x ({t['eight'] / 1000:.1f} ms)", "<= 3x", ratio8 <= 3)


if os.geteuid():
    skip(ONE, "<= 1.3x", "needs root")
    skip(EIGHT, "<= 3x", "needs root")
    sys.exit(0)
try:
    for ns in HOST, FAR, POD:
        ip("netns", "add", ns)
    for i in range(RAILS):
        ip("-n", HOST, "link", "add", f"d{i}", "mtu", "1500", "type", "veth", "peer", "name", f"d{i}", "netns", FAR)
        ip("-n", FAR, "link", "set", f"d{i}", "mtu", "9000", "up")
    main()
finally:
    for ns in HOST, FAR, POD:
        subprocess.run(["ip", "netns", "del", ns])
