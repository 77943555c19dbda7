# SPDX-License-Identifier: Apache-2.0
"""src/linux against a real kernel with SR-IOV ports and soft RoCE: through test/lab/linux-tool.c."""
import os

import pytest

from lab.guest import TREE

pytestmark = pytest.mark.lab

UNIT = TREE / os.environ.get("KVRAIL_BUILD", "build") / "test/unit"
PF = "0000:01:00.0"


@pytest.fixture(scope="module")
def node(guest):
    if not (UNIT / "linux/linux-tool").exists():
        pytest.skip(f"{UNIT}/linux/linux-tool is not there: build first")
    return guest


@pytest.fixture
def vfs(node):
    tool(node, f"write bus/pci/devices/{PF}/sriov_numvfs 7")
    yield node
    tool(node, f"write bus/pci/devices/{PF}/sriov_numvfs 0")


@pytest.fixture
def pod(node):
    path = "/run/netns/pod"
    tool(node, f"netns-add {path}")
    yield path
    tool(node, f"netns-del {path}")
    node.wait_for("! rdma link | grep -q rxe", timeout=20)


def tool(node, arguments):
    return node.sh(f"{UNIT}/linux/linux-tool {arguments}")


def fails(node, arguments):
    """ERRNO-NAME and message of a command that must fail."""
    r = node.run(f"{UNIT}/linux/linux-tool {arguments}")
    assert r.rc == 1, (arguments, r)
    code, message = r.err.strip().split(": ", 1)
    return code, message


def vf(node, n):
    return dict(pair.split("=", 1) for pair in tool(node, f"vf p0 {n}").split())


def test_links_and_addresses_on_this_kernel(node):
    r = node.run(f"{UNIT}/rtnl_test && {UNIT}/netns_test", timeout=120, env={"CMOCKA_MESSAGE_OUTPUT": "TAP"})
    assert r.rc == 0, r.out + r.err
    assert "not ok" not in r.out


def test_sriov_numvfs_says_what_is_wrong(vfs):
    code, message = fails(vfs, f"write bus/pci/devices/{PF}/sriov_numvfs 3")
    assert code == "EBUSY" and "VFs are enabled already (write 0 first)" in message
    code, message = fails(vfs, f"write bus/pci/devices/{PF}/sriov_numvfs 100")
    assert code == "ERANGE" and message.endswith("(more VFs than sriov_totalvfs)")
    code, message = fails(vfs, "write bus/pci/devices/0000:00:00.0/sriov_numvfs 1")
    assert code == "ENOENT" and "offers no SR-IOV" in message


def test_a_pf_without_driver_makes_no_vfs(node):
    tool(node, "unbind 0000:02:00.0")
    code, message = fails(node, "write bus/pci/devices/0000:02:00.0/sriov_numvfs 1")
    assert code == "ENOENT" and "no driver is bound to the PF" in message
    tool(node, "bind 0000:02:00.0 -")
    assert tool(node, "driver 0000:02:00.0") == "igb"


def test_settings_of_a_vf_are_read_back_by_its_id(vfs):
    tool(vfs, "vf-mac p0 5 02:00:00:00:05:05")
    tool(vfs, "vf-vlan p0 5 100 3 0x8100")
    tool(vfs, "vf-spoofchk p0 5 off")
    tool(vfs, "vf-trust p0 5 on")
    five, four = vf(vfs, 5), vf(vfs, 4)
    assert (five["mac"], five["vlan"], five["qos"], five["proto"]) == ("02:00:00:00:05:05", "100", "3", "8100")
    assert (five["spoofchk"], five["trust"]) == ("off", "on")
    assert (four["mac"] != five["mac"], four["vlan"], four["spoofchk"], four["trust"]) == (True, "0", "on", "off")
    shown = vfs.sh("ip link show p0")
    assert "vf 5     link/ether 02:00:00:00:05:05" in shown and "vlan 100, qos 3" in shown
    tool(vfs, "vf-vlan p0 5 0 0 0x8100")
    assert vf(vfs, 5)["vlan"] == "0"


def test_what_the_driver_refuses_is_told(vfs):
    assert fails(vfs, "vf-link p0 2 0") == ("EOPNOTSUPP", "p0: cannot set the link state of VF 2 to auto: Operation not supported")
    code, message = fails(vfs, "vf-vlan p0 2 100 0 0x88a8")
    assert code == "EPROTONOSUPPORT" and message.startswith("p0: cannot set the VLAN of VF 2 to 100 qos 0 proto 802.1ad: ")
    code, message = fails(vfs, "vf-mac p0 7 02:00:00:00:00:01")
    assert code == "EINVAL" and "VF 7" in message
    assert fails(vfs, "vf p0 7") == ("ENODEV", "p0 reports no VF 7")


def test_a_vf_is_bound_and_unbound(vfs):
    address = vfs.sh(f"basename $(readlink /sys/bus/pci/devices/{PF}/virtfn1)")
    vfs.wait_for(f"[ -e /sys/bus/pci/devices/{address}/driver ]", timeout=20)
    tool(vfs, f"unbind {address}")
    assert tool(vfs, f"driver {address}") == "-"
    tool(vfs, f"unbind {address}")
    code, message = fails(vfs, f"bind {address} vfio-pci-that-is-not")
    assert code == "ENOENT" and "modprobe vfio-pci-that-is-not" in message
    tool(vfs, f"write bus/pci/devices/{PF}/sriov_drivers_autoprobe 0")
    code, message = fails(vfs, f"bind {address} -")
    assert code == "ENODEV" and "sriov_drivers_autoprobe" in message
    tool(vfs, f"bind {address} igbvf")  # by name it goes, all the same
    assert tool(vfs, f"driver {address}") == "igbvf"
    tool(vfs, f"write bus/pci/devices/{PF}/sriov_drivers_autoprobe 1")
    tool(vfs, f"bind {address} -")
    assert vfs.sh(f"cat /sys/bus/pci/devices/{address}/driver_override") == "(null)"
    assert tool(vfs, f"driver {address}") == "igbvf"


def test_soft_roce_is_added_on_a_moved_vf_and_moved_after_it(vfs, pod):
    vfs.wait_for(f"ls /sys/bus/pci/devices/{PF}/virtfn0/net/ | grep -q .", timeout=20)
    netdev = vfs.sh(f"ls /sys/bus/pci/devices/{PF}/virtfn0/net")
    tool(vfs, "mtu p0 9000")
    tool(vfs, "up p0")
    tool(vfs, f"move {netdev} {pod} net1")
    assert "net1 mtu=1500 0000:01:10.0" in tool(vfs, f"in {pod} links")
    assert netdev not in tool(vfs, "links").split()
    tool(vfs, f"in {pod} mtu net1 9000")
    tool(vfs, f"in {pod} up net1")
    tool(vfs, f"in {pod} addr net1 10.0.132.1 24")
    assert tool(vfs, "rdma-mode") == "exclusive"
    tool(vfs, f"in {pod} rxe rxe_net1 net1")
    vfs.wait_for("rdma dev show rxe_net1", timeout=10)
    assert "rxe_net1 ports=1 roce" in tool(vfs, "rdma")
    assert tool(vfs, "rdma-port rxe_net1 1").endswith("ndev=-")  # its netdev is elsewhere
    tool(vfs, f"rdma-move rxe_net1 {pod}")
    assert tool(vfs, "rdma") == ""
    assert "rxe_net1 ports=1 roce" in tool(vfs, f"in {pod} rdma")
    assert tool(vfs, f"in {pod} ls class/infiniband") == "rxe_net1"
    assert vfs.run("ls /sys/class/infiniband").out == ""
    vfs.wait_for(f"{UNIT}/linux/linux-tool in {pod} rdma-port rxe_net1 1 | grep -q 'state=4 phys=5 ndev=net1'", timeout=20)
    tool(vfs, f"in {pod} rdma-rename rxe_net1 roce0")
    assert tool(vfs, f"in {pod} rdma").startswith("roce0 ")
    tool(vfs, f"in {pod} rdma-del roce0")
    assert tool(vfs, f"in {pod} rdma") == ""


def test_rdma_refusals_are_told(vfs, pod):
    code, message = fails(vfs, "rdma-set-mode shared")
    assert code == "EBUSY" and "ib_core.netns_mode=1" in message
    code, message = fails(vfs, "rxe rxe_x no-such-link")
    assert code == "ENODEV" and message.startswith("cannot add soft RoCE rxe_x on no-such-link: ")
    assert fails(vfs, "rdma-port none 1")[0] != "0"
    code, message = fails(vfs, f"devlink {PF}")
    assert code == "ENODEV" and message.startswith(f"pci/{PF}: cannot read devlink's information: ")
