# SPDX-License-Identifier: Apache-2.0
"""Rails made by hand, with ip and rdma only: what kvrail is compared with, and what tests of the lab itself stand on."""


def make_vf(node, port, netns, ifname, address):
    """VF 0 of @port as @ifname in @netns (made when absent), MTU 9000, with an address."""
    node.sh(f"""set -e
        ip link set p{port} mtu 9000
        [ "$(cat /sys/class/net/p{port}/device/sriov_numvfs)" -gt 0 ] || echo 2 >/sys/class/net/p{port}/device/sriov_numvfs
        [ -e /run/netns/{netns} ] || ip netns add {netns}
        ip -n {netns} link set lo up
        vf=$(ls /sys/class/net/p{port}/device/virtfn0/net)
        ip link set $vf netns {netns} name {ifname}
        ip -n {netns} link set {ifname} mtu 9000 up
        ip -n {netns} addr add {address}/24 dev {ifname}""")


def add_rxe(node, netns, ifname):
    """A soft RoCE device on @ifname inside @netns, waited for until its IPv4 GID is there (index 1 on this NIC)."""
    dev = f"rxe_{ifname}"
    node.sh(f"ip netns exec {netns} rdma link add {dev} type rxe netdev {ifname} && rdma dev set {dev} netns {netns}")
    node.wait_for(f"ip netns exec {netns} grep -qi ffff: /sys/class/infiniband/{dev}/ports/1/gids/1", timeout=30)
    return dev


def remove(node, netns):
    """Deletes the namespace, waits for its VFs to be back, and takes all VFs away."""
    node.sh(f"ip netns del {netns}")
    node.wait_for("[ $(ls -d /sys/class/net/p[01]/device/virtfn*/net/* | wc -l) = "
                  "$(ls -d /sys/class/net/p[01]/device/virtfn* | wc -l) ]", timeout=20)
    node.sh("for p in p0 p1; do ip link set $p mtu 1500; echo 0 >/sys/class/net/$p/device/sriov_numvfs; done")


def counter(node, netns, dev, name):
    """A value of the device's hw_counters."""
    return int(node.sh(f"ip netns exec {netns} cat /sys/class/infiniband/{dev}/ports/1/hw_counters/{name}"))


def tcp_segments(node, netns):
    """TCP segments that the namespace has sent so far."""
    return int(node.sh(f"ip netns exec {netns} awk '/^Tcp:/ {{ v = $12 }} END {{ print v }}' /proc/net/snmp"))
