#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kvrail-kv against the bare path in the same run: TCP on the loopback, and RC READ between two nodes of the lab.

Each figure is the median of several runs, each with its own bare measurement right after it: neighbours on the machine disturb both.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
KV = ROOT / os.environ.get("KVRAIL_BUILD", "build") / "kvrail-kv"
sys.path[:0] = [str(ROOT), str(ROOT / "test/lab")]
SECRET = {"KVRAIL_KV_SECRET": "bench"}
RUNS = 7


def row(what, results, reach):
    rate, bare, share = (statistics.median(r[k] for r in results) for k in ("GBps", "baselineGBps", "share"))
    low, high = (f(r["share"] for r in results) for f in (min, max))
    print(f"{what:44} {rate:8.3f} {bare:8.3f} {share:6.0%} ({low:.0%} to {high:.0%}) {reach:>8}", flush=True)


def loopback():
    for shape, what, reach in (("4K", "TCP, blocks of 4 KiB", ">= 80%"), ("16K", "TCP, blocks of 16 KiB", ""), ("64K", "TCP, blocks of 64 KiB", "")):
        row(what, [json.loads(subprocess.run([KV, "bench", "-n", "5", "--transport", "tcp", "--shapes", shape, "-o", "json"], check=True,
                                             capture_output=True).stdout)[0] for _ in range(RUNS)], reach)


def lab():
    from lab import guest
    import rails
    why = guest.missing()
    if why:
        print(f"RC READ: skipped, {why}")
        return
    with guest.Lab(nodes=2, name="bench-kv") as (prefill, decode):
        for node, last in (prefill, 1), (decode, 2):
            rails.make_vf(node, 0, "kv", "net1", f"10.0.132.{last}")
            rails.add_rxe(node, "kv", "net1")
        prefill.wait_for("ip netns exec kv ping -c 1 -W 1 10.0.132.2", timeout=30)
        server = prefill.spawn("ip netns exec kv kvrail-kv serve -m any", env=SECRET)
        server.expect("listening on", timeout=60)
        results = []
        for _ in range(RUNS):
            r = decode.run("ip netns exec kv kvrail-kv bench --peer 10.0.132.1 -n 2 --transport verbs --shapes 64K --scale 8 -o json",
                           env=SECRET, timeout=300)
            assert r.rc == 0, r
            results += json.loads(r.out)
        row(f"RC READ, blocks of 64 KiB ({results[0]['baselineTool'].split(',')[0]})", results, ">= 95%")
        server.signal(15)


print(f"{'':44} {'GB/s':>8} {'bare':>8} {'share':>6} {'(of runs)':14} {'reach':>8}")
loopback()
lab()
