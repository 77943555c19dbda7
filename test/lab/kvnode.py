# SPDX-License-Identifier: Apache-2.0
"""A lab node as an administrator and a container runtime use it: the agent, its command line, the installed plugin."""
import json
import shutil
import sqlite3

from lab.guest import TREE
from lab.runtime import install

STATE = "/var/lib/kvrail"
MANIFEST = TREE / "docs/examples/network-roce-lab.yaml"
NETWORKS = "llm-test/roce-rail0,llm-test/roce-rail1"


class Node:
    def __init__(self, guest, options="--soft-roce"):
        self.g, self.options, self.agent = guest, options, None
        self.before = None  # found() of the provisioned node without pods
        install(guest)

    # -- the agent -------------------------------------------------------------------------------------------------
    def start(self, options="", **env):
        self.agent = self.g.spawn(f"exec kvrail agent --standalone {self.options} {options}", env=env)
        self.agent.expect("ready:", timeout=90)

    def kill(self):
        self.agent.kill()

    def died(self):
        """Waits for an agent that was told to kill itself."""
        rc = self.agent.wait(60).rc
        assert rc == -9, f"the agent ended with {rc}\n{self.agent.err}"

    def apply(self, manifest=MANIFEST, options="", verb="apply"):
        return self.g.run(f"kvrail {verb} -f {manifest} {options}", timeout=180)

    def provision(self):
        r = self.apply()
        assert r.rc == 0, r
        self.before = self.found()

    def status(self):
        return json.loads(self.g.sh("kvrail status -o json"))

    # -- what is there ---------------------------------------------------------------------------------------------
    def found(self):
        """Ports with MTU and VFs; each VF's name, MTU and MAC; its settings on the PF; RDMA devices of the node."""
        return self.g.sh("""cd /sys/class/net
            grep -s '' p?/mtu p?/device/sriov_numvfs p?/device/virtfn*/net/*/mtu p?/device/virtfn*/net/*/address
            for p in p0 p1; do echo $p; ip link show $p | grep 'vf '; done
            rdma dev""")

    def files(self):
        """Journals and spooled DELs."""
        return self.g.sh(f"find {STATE}/attach {STATE}/spool -type f").split()

    def leases(self):
        """(pool, pod, interface) of every address that is held, from the store itself."""
        copy = self.g.share / "store"
        self.g.sh(f"mkdir -p /run/lab/store && cp {STATE}/store.db* /run/lab/store")
        db = sqlite3.connect(copy / "store.db")
        held = db.execute("SELECT pool, podref, ifname FROM leases").fetchall()
        runs = db.execute("SELECT name FROM runs").fetchall()
        db.close()
        shutil.rmtree(copy)
        assert bool(held) == bool(runs), f"leases {held} and runs {runs} disagree"
        return held

    def assert_clean(self):
        """No pod, no file, no address; ports and VFs as provisioned."""
        status = self.status()
        assert status["attachments"] == [] and status["problems"] == []
        assert all(p["free"] == p["total"] == 7 for p in status["pools"]), status["pools"]
        assert self.files() == []
        assert self.found() == self.before
        assert self.leases() == []
