#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ADD and DEL on veths, of one rail and of eight, against the netlink calls they need; eight rails against one. Needs root.

The kernel moves one netdev after another to another namespace: in each move it waits for RCU callbacks with the RTNL held
(net/core/dev.c, __dev_change_net_namespace(): rcu_barrier()), several milliseconds that no thread beside it can use. Eight rails
take eight times that whoever asks for it; what is ours shows in the comparison with the bare calls.
"""
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
ONE, EIGHT = (f"ADD + DEL of {n} in one pod against the netlink calls it needs" for n in ("one rail", f"{RAILS} rails"))
MORE = f"ADD + DEL of {RAILS} rails in one pod against one rail"
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
    times = {"netlink": [], "netlink8": [], "one": [], "eight": []}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as state:
        os.mkdir(f"{state}/nads")
        nad = {"name": "a", "plugins": [{"type": "sriov", "ipam": IPAM}, {"type": "tuning", "mtu": 9000}]}
        pathlib.Path(state, "nads/t.a.json").write_text(json.dumps(nad))
        for _ in range(TURNS):
            times["netlink"].append(inside(netlink, ROUNDS, pod, "d0"))
            times["netlink8"].append(inside(netlink, ROUNDS, pod, *devices))
            times["one"].append(inside(driver, state, "bench", ROUNDS, pod, KVRAIL_TEST_DEVICES=" ".join(devices), CONF=one))
            times["eight"].append(inside(driver, state, "bench", ROUNDS, pod, KVRAIL_TEST_DEVICES=" ".join(devices), CONF=eight))
    t = {k: statistics.median(v) for k, v in times.items()}
    for name, ours, bare in (ONE, "one", "netlink"), (EIGHT, "eight", "netlink8"):
        row(name, f"{t[ours] / t[bare]:.2f}x ({t[ours] / 1000:.1f} / {t[bare] / 1000:.1f} ms)", "<= 1.3x", t[ours] / t[bare] <= 1.3)
    row(MORE, f"{t['eight'] / t['one']:.2f}x, the bare calls {t['netlink8'] / t['netlink']:.2f}x", "<= 3x", t["eight"] / t["one"] <= 3)


if os.geteuid():
    skip(ONE, "<= 1.3x", "needs root")
    skip(EIGHT, "<= 1.3x", "needs root")
    skip(MORE, "<= 3x", "needs root")
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
