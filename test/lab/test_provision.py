# SPDX-License-Identifier: Apache-2.0
"""Plans applied to real SR-IOV ports: through the agent, on a node with two 82576 of 7 VFs each."""
import json
import os
import pathlib

import pytest

pytestmark = pytest.mark.lab
ROOT = pathlib.Path(__file__).resolve().parents[2]
KVRAIL = f"{ROOT / os.environ.get('KVRAIL_BUILD', 'build-asan')}/kvrail"
PORTS = {"p0": "0000:01:00.0", "p1": "0000:02:00.0"}


def manifest(mtu=9000, vfs=7):
    return json.dumps([{"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy",
                        "metadata": {"name": pf, "namespace": "openshift-sriov-network-operator"},
                        "spec": {"resourceName": pf, "nodeSelector": {}, "nicSelector": {"pfNames": [pf]}, "numVfs": vfs, "mtu": mtu}}
                       for pf in PORTS])


def start_agent(guest):
    agent = guest.spawn(f"{KVRAIL} agent --standalone")
    guest.wait_for(f"{KVRAIL} status", timeout=30)
    return agent


@pytest.fixture
def agent(guest):
    a = start_agent(guest)
    yield a
    a.signal(9)
    a.wait()
    guest.run("rm -rf /var/lib/kvrail; for p in 01 02; do echo 0 >/sys/bus/pci/devices/0000:$p:00.0/sriov_numvfs; "
              "echo 1 >/sys/bus/pci/devices/0000:$p:00.0/sriov_drivers_autoprobe; done; ip link set p0 mtu 1500; ip link set p1 mtu 1500")


def write(guest, text, name="m.json"):
    guest.sh(f"cat >/tmp/{name} <<'END'\n{text}\nEND")
    return f"/tmp/{name}"


def apply(guest, text, **kw):
    return guest.run(f"{KVRAIL} apply -f {write(guest, text)}", timeout=120, **kw)


def vfs(guest):
    inv = json.loads(guest.sh(f"{KVRAIL} inventory -o json"))
    return {p["netdev"]: p for p in inv["ports"] if p.get("netdev") in PORTS}


def provisioned(guest, mtu=9000, n=7):
    ports = vfs(guest)
    for pf in PORTS:
        assert ports[pf]["numVfs"] == n and ports[pf]["autoprobe"] and ports[pf]["mtu"] >= mtu
        assert [(v["driver"], v["mtu"]) for v in ports[pf]["vfs"]] == [("igbvf", mtu)] * n
        assert all(v["mac"] == v["adminMac"] for v in ports[pf]["vfs"])
    macs = [v["mac"] for pf in PORTS for v in ports[pf]["vfs"]]
    assert len(set(macs)) == 2 * n
    return macs


def test_two_ports_of_seven_vfs_and_then_nothing_to_do(guest, agent):
    r = apply(guest, manifest())
    assert r.rc == 0, r.out + r.err
    macs = provisioned(guest)
    r = apply(guest, manifest())
    assert r.rc == 0 and "nothing to do" in r.out
    assert "nothing to do" in guest.sh(f"{KVRAIL} plan")

    # fewer, then as many as before: the VFs have the addresses that they had
    assert apply(guest, manifest(vfs=3)).rc == 0
    provisioned(guest, n=3)
    assert apply(guest, manifest()).rc == 0
    assert provisioned(guest) == macs


def test_mtu_goes_up_from_the_port_and_down_at_the_vf(guest, agent):
    assert apply(guest, manifest(mtu=1500)).rc == 0
    provisioned(guest, mtu=1500)
    assert apply(guest, manifest(mtu=9000)).rc == 0
    provisioned(guest, mtu=9000)
    assert apply(guest, manifest(mtu=4000)).rc == 0
    provisioned(guest, mtu=4000)
    assert vfs(guest)["p0"]["mtu"] == 9000  # a port's MTU is only raised


def test_ports_go_back_when_no_policy_wants_them(guest, agent):
    assert apply(guest, manifest()).rc == 0
    r = guest.run(f"{KVRAIL} delete -f /tmp/m.json", timeout=120)
    assert r.rc == 0, r.out + r.err
    ports = vfs(guest)
    assert [(ports[p]["numVfs"], ports[p]["mtu"], ports[p]["configuredByKvrail"]) for p in PORTS] == [(0, 1500, False)] * 2


def test_more_vfs_than_the_port_has_changes_nothing(guest, agent):
    r = apply(guest, manifest(vfs=8))
    assert r.rc != 0 and "at most 7" in r.out + r.err
    assert [p["numVfs"] for p in vfs(guest).values()] == [0, 0]
