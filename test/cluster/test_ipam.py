# SPDX-License-Identifier: Apache-2.0
"""Addresses out of the IP pools of a real API server."""
import collections
import errno
import ipaddress
import os
import random
import subprocess
import threading
import time

import pytest

from ipam import GROUP, WHEREABOUTS, Died, Node, Refused, Whereabouts, config_for, entries, ipam, pools, reservations, together

NET = ipam("10.56.0.0/16")


@pytest.fixture
def config(control_plane, namespace):
    return config_for(control_plane, namespace)


@pytest.fixture
def nodes(config, namespace):
    """nodes(N): N nodes that are ready; they end with the test."""
    all = []

    def start(count, *options):
        new = [Node(config, f"node-{len(all) + i}", namespace, *options) for i in range(count)]
        all.extend(new)
        return [n.wait_ready() for n in new]

    yield start
    for n in all:
        n.close()


@pytest.fixture
def netns():
    name = f"kvi-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield f"/run/netns/{name}"
    subprocess.run(["ip", "netns", "del", name])


def writes(plane, namespace):
    return [(e["verb"], e["objectRef"]["resource"]) for e in plane.audit()
            if e.get("objectRef", {}).get("namespace") == namespace and e["verb"] not in ("get", "list", "watch")
            and e["objectRef"].get("apiGroup") == "whereabouts.cni.cncf.io"]


def test_all_addresses_of_a_pod_are_one_patch_and_go_back_with_one(control_plane, namespace, nodes):
    (node,) = nodes(1)
    interfaces = [f"net{i}" for i in range(1, 17)]
    assert node.add("c0", "llm/first", NET) == ["10.56.0.1/16"]  # makes the pool
    before = len(writes(control_plane, namespace))
    assert node.add("c1", "llm/a", NET, interfaces) == [f"10.56.0.{i + 1}/16" for i in range(1, 17)]
    assert writes(control_plane, namespace)[before:] == [("patch", "ippools")]
    pool = pools(control_plane, namespace)["10.56.0.0-16"]
    assert pool["spec"]["range"] == "10.56.0.0/16"
    assert pool["spec"]["allocations"]["17"] == {"id": "c1", "podref": "llm/a", "ifname": "net16"}
    assert reservations(control_plane, namespace) == {}
    node.delete("c1", interfaces)
    assert writes(control_plane, namespace)[before:] == [("patch", "ippools")] * 2
    node.delete("c1", interfaces)
    node.delete("nobody")
    assert len(writes(control_plane, namespace)) == before + 2
    assert list(entries(control_plane, namespace)) == [("10.56.0.0-16", "1")]


def test_both_families_of_a_network_go_back(control_plane, namespace, nodes):
    (node,) = nodes(1)
    both = ipam("10.57.0.0/24", network_name="dual", ipRanges=[{"range": "fd57::/64", "range_start": "fd57::8000:0:0:1"}])
    assert node.add("c1", "llm/a", both) == ["10.57.0.1/24", "fd57::8000:0:0:1/64"]
    assert set(entries(control_plane, namespace)) == {("dual-10.57.0.0-24", "1"), ("dual-fd57---64", "9223372036854775809")}
    # the first range has nothing of the container any more: the second goes back all the same
    control_plane.patch(f"{GROUP}/namespaces/{namespace}/ippools/dual-10.57.0.0-24", {"spec": {"allocations": {"1": None}}})
    node.delete("c1")
    assert entries(control_plane, namespace) == {}


def test_the_same_pod_keeps_its_address_in_a_new_sandbox_on_any_node(control_plane, namespace, nodes):
    a, b = nodes(2)
    first = a.add("old", "llm/web-0", NET)
    a.add("other", "llm/web-1", NET)
    control_plane.wait_for(lambda: b.add("new", "llm/web-0", NET) == first, "the address of before")
    assert entries(control_plane, namespace)["10.56.0.0-16", "1"]["id"] == "new"
    a.delete("old")
    assert entries(control_plane, namespace)["10.56.0.0-16", "1"]["podref"] == "llm/web-0"


def test_an_exact_fit_pool_completes_and_then_its_holders_are_named(control_plane, namespace, nodes):
    fit = ipam("10.58.0.0/23", range_start="10.58.0.5", range_end="10.58.1.248")
    some = nodes(4)
    given, seconds = together([(lambda i=i: some[i % 4].begin_add(f"c{i}", f"llm/p{i}", fit), some[i % 4].end) for i in range(500)])
    print(f"500 pods, 500 addresses, 4 nodes: {seconds:.1f} s")
    assert sorted(ipaddress.ip_interface(g).ip for g in given) == [ipaddress.ip_address("10.58.0.5") + i for i in range(500)]
    with pytest.raises(Refused, match=r"no free address left: 500 held, by llm/p\d+ net1 .*and 495 more; delete pods or widen") as e:
        some[0].add("more", "llm/more", fit)
    assert e.value.number == errno.ENOSPC
    some[3].delete("c7")
    assert some[2].add("more", "llm/more", fit) == [given[7]]


def test_overlapping_pools_of_one_network_name_never_give_one_address_twice(control_plane, namespace, nodes):
    small, large, other = ipam("10.59.0.0/25"), ipam("10.59.0.0/24"), ipam("10.59.0.0/25", network_name="other")
    some = nodes(4)
    before = [some[0].add(f"b{i}", f"llm/b{i}", small)[0] for i in range(10)]
    assert reservations(control_plane, namespace) == {}  # nothing overlaps yet
    jobs = [(lambda i=i: some[i % 4].begin_add(f"c{i}", f"llm/c{i}", (small, large)[i // 4 % 2], ["net1", "net2"]), some[i % 4].end)
            for i in range(48)]
    given, seconds = together(jobs)
    print(f"48 pods with 2 addresses out of two pools that overlap, 4 nodes: {seconds:.1f} s")
    held = [ipaddress.ip_interface(x).ip for g in given for x in g.split(",")]
    assert not set(held) & {ipaddress.ip_interface(x).ip for x in before}
    assert len(set(held)) == len(held) == 96
    assert all(p["metadata"]["annotations"]["kvrail.io/overlaps"] for p in pools(control_plane, namespace).values())
    # a pod that came before its node saw the other pool may have none, as those of before; from then on each has one
    (late,) = some[1].add("late", "llm/late", small)
    reserved = reservations(control_plane, namespace)
    assert reserved[late.split("/")[0]] == {"podref": "llm/late", "ifname": "net1"}
    # another network_name is another world
    assert some[0].add("o", "llm/o", other) == ["10.59.0.1/25"]
    # what was given before gets its reservation from the controller
    live = [e["podref"] for e in entries(control_plane, namespace).values()]
    assert some[0].reconcile(live) == 107 - len(reserved)
    assert len(reservations(control_plane, namespace)) == 107 and some[0].reconcile(live) == 0
    for i in range(48):
        some[i % 4].delete(f"c{i}")
    for i in range(10):
        some[0].delete(f"b{i}")
    some[0].delete("o")
    some[1].delete("late")
    assert entries(control_plane, namespace) == {} and reservations(control_plane, namespace) == {}


def test_two_interfaces_of_one_pod_never_get_one_address_out_of_pools_that_overlap(control_plane, namespace, nodes):
    small, large = ipam("10.61.0.0/25"), ipam("10.61.0.0/24")
    (node,) = nodes(1)
    for i in range(8):
        given = node.add(f"c{i}", f"llm/p{i}", [small, large], ["net1", "net2"])
        # interfaces that another maker's plugin makes ask one by one
        given += [*node.add(f"c{i}", f"llm/p{i}", large, ["net3"]), *node.add(f"c{i}", f"llm/p{i}", small, ["net4"])]
        held = {ipaddress.ip_interface(g).ip for g in given}
        assert len(held) == 4, given
    for i in range(8):
        node.delete(f"c{i}")
    assert entries(control_plane, namespace) == {} and reservations(control_plane, namespace) == {}


def test_two_new_pools_that_overlap_are_made_at_once(control_plane, namespace, nodes):
    some = nodes(4)
    for turn in range(6):
        nets = [ipam(f"10.{100 + turn}.0.0/{length}") for length in (16, 20, 24, 28)]
        given, _ = together([(lambda i=i: some[i].begin_add(f"c{turn}-{i}", f"llm/p{turn}-{i}", nets[i]), some[i].end) for i in range(4)])
        held = [ipaddress.ip_interface(g).ip for g in given]
        assert len(set(held)) == 4, given


def test_a_reservation_that_another_pod_has_is_respected(control_plane, namespace, nodes):
    (node,) = nodes(1, "always")
    path = f"{GROUP}/namespaces/{namespace}/overlappingrangeipreservations"
    control_plane.post(path, {"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
                              "metadata": {"name": "10.60.0.1"}, "spec": {"podref": "go/pod", "ifname": "net1"}})
    assert node.add("c1", "llm/a", ipam("10.60.0.0/24"), ["net1", "net2"]) == ["10.60.0.2/24", "10.60.0.3/24"]
    assert reservations(control_plane, namespace)["10.60.0.3"] == {"podref": "llm/a", "ifname": "net2"}
    node.delete("c1")
    assert list(reservations(control_plane, namespace)) == ["10.60.0.1"]
    assert node.reconcile() == 1


def test_a_node_gives_out_of_its_slice(control_plane, namespace, nodes):
    a, b = nodes(2)
    net = ipam("10.64.0.0/16", network_name="fast", node_slice_size="/26")
    with pytest.raises(Refused, match="NodeSlicePool fast"):
        a.add("c0", "llm/early", net)
    control_plane.post(f"{GROUP}/namespaces/{namespace}/nodeslicepools", {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "NodeSlicePool", "metadata": {"name": "fast"},
        "spec": {"range": "10.64.0.0/16", "sliceSize": "/26"},
        "status": {"allocations": [{"nodeName": "node-0", "sliceRange": "10.64.0.0/26"}]}})
    assert a.add("c1", "llm/a", net) == ["10.64.0.1/16"]
    assert list(pools(control_plane, namespace)) == ["fast-node-0-10.64.0.0-26"]
    assert list(reservations(control_plane, namespace)) == ["fast-10.64.0.1"]
    with pytest.raises(Refused, match="has no slice for node node-1"):
        b.add("c2", "llm/b", net)
    assert a.reconcile(["llm/a"]) == 0
    a.delete("c1")
    assert entries(control_plane, namespace) == {} and reservations(control_plane, namespace) == {}


def test_a_slice_of_a_network_without_a_network_name_is_found_by_the_configurations_name(control_plane, namespace, nodes):
    (node,) = nodes(1)
    net = ipam("10.65.0.0/16", name="rail0", node_slice_size="/26", exclude=["10.65.0.0/31"])
    control_plane.post(f"{GROUP}/namespaces/{namespace}/nodeslicepools", {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "NodeSlicePool", "metadata": {"name": "rail0"},
        "spec": {"range": "10.65.0.0/16", "sliceSize": "/26"},
        "status": {"allocations": [{"nodeName": "node-0", "sliceRange": "10.65.0.0/26"}]}})
    assert node.add("c1", "llm/a", net) == ["10.65.0.2/16"]
    assert list(pools(control_plane, namespace)) == ["node-0-10.65.0.0-26"]
    assert list(reservations(control_plane, namespace)) == ["10.65.0.2"]
    node.delete("c1")
    assert entries(control_plane, namespace) == {} and reservations(control_plane, namespace) == {}
    with pytest.raises(Refused, match="the configuration's name"):
        node.add("c2", "llm/b", ipam("10.65.0.0/16", node_slice_size="/26"))


def test_whereabouts_lease_is_held_for_those_who_want_it(control_plane, namespace, nodes):
    some = nodes(2, "lease")
    together([(lambda i=i: some[i % 2].begin_add(f"c{i}", f"llm/p{i}", NET), some[i % 2].end) for i in range(4)])
    lease = control_plane.get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/whereabouts")["spec"]
    assert not lease.get("holderIdentity") and lease["leaseTransitions"] >= 1
    # the lease tells others that reservations are wanted: ours heed it as they would a Go node's
    control_plane.wait_for(lambda: some[0].add("late", "llm/late", NET) and "10.56.0.5" in reservations(control_plane, namespace), "a reservation")


def test_while_the_api_server_is_away_nothing_is_taken_for_given_back(boot_plane):
    plane = boot_plane()
    plane.install_crds()
    plane.namespace("pods")
    with Node(config_for(plane, "pods"), "n1", "pods") as node:
        node.add("c1", "llm/a", NET)
        plane.api_server.kill()
        with pytest.raises(Refused) as e:
            node.delete("c1")
        assert e.value.number == errno.EHOSTUNREACH
        start = time.monotonic()  # known by now: who asks again is told at once
        with pytest.raises(Refused, match="does not answer|not able to answer|refused|connect"):
            node.delete("c1")
        assert time.monotonic() - start < 5
        plane.api_server.start()
        plane.wait_ready()

        def goes_back():
            try:
                node.delete("c1")
                return True
            except Refused:
                return False

        plane.wait_for(goes_back, "the address goes back")
        assert entries(plane, "pods") == {}
        assert node.add("c2", "llm/b", NET) == ["10.56.0.1/16"]


def test_5000_mixed_operations_with_kills_give_nothing_twice_and_leak_nothing(control_plane, namespace, config):
    """Four nodes, each with eight pods at a time; a node is killed at random moments and, like the agent by its journal, gives back what it
    was about to give or to take. One in five loses its journal too: the reconciliation finds that."""
    run = Run(control_plane, config, namespace, operations=5000)
    run.go()
    print(f"{run.done} operations, {run.kills} kills, {run.lost} journals lost, {run.seconds:.0f} s")
    assert not run.duplicates, run.duplicates[:5]
    with Node(config, "checker", namespace) as checker:
        while checker.reconcile(run.pods_alive()):  # an entry first, then the reservation that it leaves
            pass
        left = collections.Counter((e["podref"], e["ifname"]) for e in entries(control_plane, namespace).values())
        assert left == run.expected()
        assert {(r["podref"]) for r in reservations(control_plane, namespace).values()} <= set(run.pods_alive())
        for owner in list(run.alive):
            checker.delete(owner)
    assert entries(control_plane, namespace) == {} and reservations(control_plane, namespace) == {}


@pytest.mark.skipif(not os.access(WHEREABOUTS, os.X_OK), reason="KVRAIL_PEERS has no whereabouts")
@pytest.mark.skipif(os.geteuid() != 0, reason="whereabouts needs a network namespace: root")
def test_go_whereabouts_and_ours_share_pools_through_kills(control_plane, namespace, config, netns):
    """Both kinds of nodes on one pool, and on one that overlaps it, at once; some are killed. What pods keep is theirs alone; the
    reconciliation leaves nothing else."""
    nets = [ipam("10.63.0.0/24"), ipam("10.63.0.0/23")]
    gos = [Whereabouts(config, netns, net) for net in nets]
    nodes = [Node(config, f"node-{i}", namespace).wait_ready() for i in range(3)]
    dice, alive, lock, problems = random.Random(7), {}, threading.Lock(), []

    def noted(work, *args):
        try:
            work(*args)
        except Exception as e:  # noqa: BLE001
            problems.append(e)

    def ours(i, t):
        rolls = random.Random(i * 10 + t)
        mine = []
        for n in range(20):
            try:
                if mine and rolls.random() < 0.4:
                    name = mine.pop()
                    with lock:
                        del alive[name]
                    nodes[i].delete(name)
                else:
                    name = f"c-{i}-{t}-{n}"
                    (given,) = nodes[i].add(name, f"llm/{name}", rolls.choice(nets))
                    with lock:
                        alive[name] = given
                    mine.append(name)
            except Died:
                assert i == 2, f"node {i} ended by itself"  # nodes[2] is killed below
                return

    def go(t):
        rolls = random.Random(1000 + t)
        mine = []
        for n in range(4):
            name, net = f"go-{t}-{n}", rolls.randrange(2)
            p = gos[net].begin("ADD", name, f"llm/{name}")
            killed = rolls.random() < 0.25
            if killed:
                time.sleep(rolls.uniform(0, 2))
                p.kill()
            try:
                (given,) = gos[net].end(p)
            except Died:
                assert killed, f"{name} ended by itself"
                continue
            except Refused as e:  # ours was first to reserve it; the runtime would ask again
                assert "already exists" in str(e), e
                continue
            with lock:
                alive[name] = given
            mine.append((name, net))
            if rolls.random() < 0.4:
                name, net = mine.pop(0)
                with lock:
                    del alive[name]
                gos[net].delete(name, f"llm/{name}")

    gos[0].add("go-first", "llm/go-first")  # from here on the Lease tells that Go nodes are about
    gos[0].delete("go-first", "llm/go-first")
    threads = [threading.Thread(target=noted, args=(ours, i, t)) for i in range(3) for t in range(2)]
    threads += [threading.Thread(target=noted, args=(go, t)) for t in range(4)]
    for t in threads:
        t.start()
    time.sleep(dice.uniform(1, 3))
    nodes[2].kill()
    for t in threads:
        t.join()
    assert not problems, problems
    addresses = [a.split("/")[0] for a in alive.values()]
    assert len(set(addresses)) == len(addresses), "an address was given twice"
    pods = [f"llm/{name}" for name in alive]
    while nodes[0].reconcile(pods):
        pass
    held = entries(control_plane, namespace)
    assert sorted(e["podref"] for e in held.values()) == sorted(pods)
    assert sorted(r["podref"] for r in reservations(control_plane, namespace).values()) == sorted(pods)
    # names, offsets and results are the same: what one side gave the other finds again
    name = next(n for n in alive if n.startswith("c-0"))
    net = 0 if alive[name].endswith("/24") else 1
    assert gos[net].add(f"{name}-again", f"llm/{name}") == [alive[name]]
    name = next(n for n in alive if n.startswith("go-"))
    net = 0 if alive[name].endswith("/24") else 1
    assert nodes[0].add(f"{name}-again", f"llm/{name}", nets[net]) == [alive[name]]
    # a node that is switched over deletes pods of the other kind
    nodes[0].delete(f"{name}-again")
    gone = next(n for n in alive if n.startswith("go-") and n != name)
    nodes[1].delete(gone)
    assert not {f"llm/{name}", f"llm/{gone}"} & {e["podref"] for e in entries(control_plane, namespace).values()}
    assert not {f"llm/{name}", f"llm/{gone}"} & {r["podref"] for r in reservations(control_plane, namespace).values()}
    print(f"{len(alive)} pods of both kinds alive, {len(addresses)} addresses, none twice")
    for n in nodes:
        n.close()


class Run:
    NODES, THREADS = 4, 8

    def __init__(self, plane, config, namespace, operations):
        self.plane, self.config, self.namespace, self.left = plane, config, namespace, operations
        self.lock = threading.Lock()
        self.done = self.kills = self.lost = 0
        self.alive = {}  # container -> (pod, interfaces)
        self.owner = {}  # address -> container
        self.duplicates, self.failures = [], []
        self.nodes = [None] * self.NODES
        self.journals = [{} for _ in range(self.NODES)]
        # mostly one pool; two that overlap, where each address is two writes, beside it
        self.nets = [ipam("10.61.0.0/22")] * 8 + [ipam("10.62.0.0/24", network_name="n-1"), ipam("10.62.0.0/22", network_name="n-1")]

    def pods_alive(self):
        return [pod for pod, _ in self.alive.values()]

    def expected(self):
        return collections.Counter((pod, i) for pod, interfaces in self.alive.values() for i in interfaces)

    def go(self):
        start = time.monotonic()
        self.nodes = [Node(self.config, f"node-{i}", self.namespace) for i in range(self.NODES)]
        for n in self.nodes:
            n.wait_ready()
        threads = [threading.Thread(target=self._work, args=(i, t)) for i in range(self.NODES) for t in range(self.THREADS)]
        killer = threading.Thread(target=self._kill)
        for t in [*threads, killer]:
            t.start()
        for t in [*threads, killer]:
            t.join()
        for i, n in enumerate(self.nodes):
            self._recover(i, n)
            n.close()
        self.seconds = time.monotonic() - start
        assert not self.failures, self.failures[:5]

    def _take(self):
        with self.lock:
            self.left -= 1
            self.done += self.left >= 0
            return self.left >= 0

    def _kill(self):
        dice = random.Random(1)
        while self.left > 0:
            time.sleep(dice.uniform(0.3, 1.5))
            i = dice.randrange(self.NODES)
            old = self.nodes[i]
            old.kill()
            self.kills += 1
            with self.lock:
                if dice.random() < 0.2:  # the node is lost with its journal
                    self.lost += 1
                    self.journals[i].clear()
            new = Node(self.config, f"node-{i}", self.namespace).wait_ready()
            self._recover(i, new)
            self.nodes[i] = new

    def _recover(self, i, node):
        with self.lock:
            journal = list(self.journals[i])
        for container, begun in [(c, node.begin("del", c, "-")) for c in journal]:
            node.end(begun)
            with self.lock:
                self.journals[i].pop(container, None)

    def _work(self, i, t):
        dice = random.Random(i * 100 + t)
        mine, number = [], 0
        while self._take():
            node = self.nodes[i]
            number += 1
            try:
                if mine and (len(mine) > 3 or dice.random() < 0.45):
                    self._delete(i, node, mine.pop(dice.randrange(len(mine))))
                    continue
                container = f"c{i}-{t}-{number}"
                if self._add(i, node, container, dice):
                    mine.append(container)
            except Died:
                while self.nodes[i] is node and self.left > 0:
                    time.sleep(0.02)
            except Refused as e:
                self.failures.append(str(e))

    def _add(self, i, node, container, dice):
        pod, interfaces = f"llm/{container}", [f"net{k + 1}" for k in range(dice.choice([1, 1, 2, 4]))]
        with self.lock:
            self.journals[i][container] = True
        given = node.add(container, pod, dice.choice(self.nets), interfaces)
        with self.lock:
            if self.journals[i].pop(container, None) is None:
                return False  # the node was lost before its answer was written down
            self.alive[container] = (pod, interfaces)
            for a in given:
                key = (a.split("/")[0])
                if key in self.owner:
                    self.duplicates.append((key, container, self.owner[key]))
                self.owner[key] = container
        return True

    def _delete(self, i, node, container):
        with self.lock:
            self.journals[i][container] = True
            del self.alive[container]
            for key in [k for k, v in self.owner.items() if v == container]:
                del self.owner[key]
        node.delete(container)
        with self.lock:
            self.journals[i].pop(container, None)
