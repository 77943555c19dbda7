#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kvrail-kv against the bare path in the same run: TCP on the loopback, and RC READ between two nodes of the lab.

Each figure is the median of several runs, each with its own bare measurement right after it: neighbours on the machine disturb both.
"""
import json
import os
import statistics
import subprocess
import sys

from rows import BUILD, ROOT, row, skip

KV = BUILD / "kvrail-kv"
sys.path[:0] = [str(ROOT), str(ROOT / "test/lab")]
SECRET = {"KVRAIL_KV_SECRET": "bench"}
RUNS = 7
READ = "kvrail-kv, RC READ in the lab, blocks of 64 KiB, against "


def figure(what, results, reach=None):
    rate, bare, share = (statistics.median(r[k] for r in results) for k in ("GBps", "baselineGBps", "share"))
    low, high = (f(r["share"] for r in results) for f in (min, max))
    row(what, f"{share:.0%} ({low:.0%} to {high:.0%}; {rate:.2f} / {bare:.2f} GB/s)", f">= {reach:.0%}" if reach else "-",
        share >= reach if reach else None)


def loopback():
    for kib, reach in (4, 0.8), (16, None), (64, None):
        what = f"kvrail-kv, TCP loopback, blocks of {kib} KiB, against plain send and recv"
        figure(what, [json.loads(subprocess.run([KV, "bench", "-n", "5", "--transport", "tcp", "--shapes", f"{kib}K", "-o", "json"], check=True,
                                             capture_output=True).stdout)[0] for _ in range(RUNS)], reach)


def lab():
    from lab import guest
    import rails
    why = "KVRAIL_BENCH_LAB=0" if os.environ.get("KVRAIL_BENCH_LAB") == "0" else guest.missing()
    if why:
        skip(f"{READ}ib_read_bw", ">= 95%", why)
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
        figure(READ + results[0]["baselineTool"].split(",")[0], results, 0.95)
        server.signal(15)


loopback()
lab()
