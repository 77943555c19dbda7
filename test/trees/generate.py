#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes trees of machines: sys/, proc/, errors and netlink.json, as `kvrail inventory --record` captures them.

usage: generate.py DIR [KIND...]      all kinds by default; DIR/KIND is made anew

Facts and where they are from, for what all kinds share:
- attributes of a PCI function, their texts and when they are missing: Linux drivers/pci/pci-sysfs.c, drivers/pci/iov.c,
  Documentation/ABI/testing/sysfs-bus-pci (all sriov_* files are absent when the firmware offers no SR-IOV);
- address of VF n: routing id of the PF + sriov_offset + n * sriov_stride (PCI Express, SR-IOV capability);
- mlx5: PF and VF ids drivers/net/ethernet/mellanox/mlx5/core/main.c; hca_type MT<decimal of the function's own id>
  drivers/infiniband/hw/mlx5/main.c; one sys_image_guid a card, phys_switch_id is it with its bytes reversed (en/devlink.c);
  a VF's node_guid from its MAC (esw/legacy.c);
- speed, duplex and carrier of a port that is down: EINVAL (net/core/net-sysfs.c); a VF's link width 0 and speed Unknown
  (its LnkSta is blank);
- types and ndevs of an unused GID: EINVAL (drivers/infiniband/core/sysfs.c).
Facts of one machine stand at its function.
"""
import json
import os
import pathlib
import shutil
import sys


def rid(bdf):
    """(domain, routing id) of dddd:bb:dd.f"""
    domain, bus, rest = bdf.split(":")
    device, function = rest.split(".")
    return domain, int(bus, 16) << 8 | int(device, 16) << 3 | int(function)


def bdf_of(domain, r):
    return f"{domain}:{r >> 8:02x}:{r >> 3 & 31:02x}.{r & 7}"


def mac_text(n):
    return ":".join(f"{n >> s & 255:02x}" for s in range(40, -1, -8))


def guid_text(n):
    return ":".join(f"{n >> s & 0xffff:04x}" for s in (48, 32, 16, 0))


def guid_of_mac(mac):
    """m0 m1 m2 ff fe m3 m4 m5, without flipping the universal/local bit (mlx5/core/esw/legacy.c)"""
    m = [int(x, 16) for x in mac.split(":")]
    return int.from_bytes(bytes(m[:3] + [0xff, 0xfe] + m[3:]), "big")


class Tree:
    def __init__(self, hostname, kernel="6.12.117-amd64", rdma="shared", iommu=True):
        self.files, self.links, self.errors, self.folders = {}, {}, [], []
        self.netlink = {"rdma": {"netns": rdma}, "links": {}, "devlink": {}}
        self.where = {}  # BDF -> path below the tree
        self.verbs = 0
        self.file("proc/sys/kernel/hostname", hostname)
        self.file("proc/sys/kernel/osrelease", kernel)
        self.file("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro" + (" intel_iommu=on iommu=pt" if iommu else ""))
        self.iommu_groups = 0 if iommu else None

    def file(self, path, text, raw=False):
        self.files[path] = text if raw else f"{text}\n"

    def link(self, path, target):
        """both are paths in the tree; the link is written relative, as sysfs has it"""
        self.links[path] = os.path.relpath(target, os.path.dirname(path))

    def error(self, path, name):
        self.files.setdefault(path, "")
        self.errors.append(f"{path} {name}")

    def function(self, bdf, vendor, device, cls, driver=None, numa=0, bridges=(), root=None, subsystem="15b3:0026",
                 cpus="0-55,112-167"):
        """A PCI function below the named bridges of a root; gives its path."""
        domain = bdf.split(":")[0]
        path = f"sys/devices/{root or f'pci{domain}:' + bdf.split(':')[1]}"
        for b in bridges:
            path += f"/{b}"
        path += f"/{bdf}"
        self.where[bdf] = path
        self.link(f"sys/bus/pci/devices/{bdf}", path)
        sv, sd = subsystem.split(":")
        for name, text in {
                "vendor": f"0x{vendor}", "device": f"0x{device}", "class": f"0x{cls}", "revision": "0x00",
                "subsystem_vendor": f"0x{sv}", "subsystem_device": f"0x{sd}", "numa_node": numa, "local_cpulist": cpus,
                "irq": 45, "enable": 1, "driver_override": "(null)", "current_link_speed": "16.0 GT/s PCIe",
                "current_link_width": 16, "max_link_speed": "16.0 GT/s PCIe", "max_link_width": 16,
                "reset_method": "flr bus",
                "modalias": f"pci:v0000{vendor.upper()}d0000{device.upper()}sv0000{sv.upper()}sd0000{sd.upper()}"
                            f"bc{cls[:2]}sc{cls[2:4]}i{cls[4:]}"}.items():
            self.file(f"{path}/{name}", text)
        if self.iommu_groups is not None:
            self.iommu_groups += 1
            group = f"sys/kernel/iommu_groups/{self.iommu_groups}"
            self.link(f"{path}/iommu_group", group)
            self.file(f"{group}/type", "identity")
        self.bind(bdf, driver)
        return path

    def bind(self, bdf, driver):
        path = self.where[bdf]
        f = {n: self.files[f"{path}/{n}"].strip() for n in ("vendor", "device", "class", "subsystem_vendor", "subsystem_device")}
        lines = [f"DRIVER={driver}"] if driver else []
        lines += [f"PCI_CLASS={int(f['class'], 16):X}", f"PCI_ID={f['vendor'][2:].upper()}:{f['device'][2:].upper()}",
                  f"PCI_SUBSYS_ID={f['subsystem_vendor'][2:].upper()}:{f['subsystem_device'][2:].upper()}",
                  f"PCI_SLOT_NAME={bdf}"]
        self.file(f"{path}/uevent", "\n".join(lines))
        self.links.pop(f"{path}/driver", None)
        if driver:
            self.link(f"{path}/driver", f"sys/bus/pci/drivers/{driver}")
            self.link(f"sys/bus/pci/drivers/{driver}/{bdf}", path)

    def netdev(self, bdf, name, mac, mtu=1500, up=True, carrier=True, speed=100000, port_name=None, switch_id=None, port_id=None,
               ib=False, dev_port=0):
        path = f"{self.where[bdf]}/net/{name}"
        self.link(f"sys/class/net/{name}", path)
        self.link(f"{path}/device", self.where[bdf])
        for attr, text in {"address": mac, "mtu": mtu, "type": 32 if ib else 1, "flags": "0x1003" if up else "0x1002",
                           "ifindex": len(self.links) + 2, "dev_port": dev_port, "dev_id": "0x0",
                           "operstate": "up" if up and carrier else "down", "addr_len": 20 if ib else 6}.items():
            self.file(f"{path}/{attr}", text)
        for attr, text in {"carrier": int(carrier), "speed": speed if carrier else -1,
                           "duplex": "full" if carrier else "unknown"}.items():
            self.file(f"{path}/{attr}", text)
            if not up:
                self.error(f"{path}/{attr}", "EINVAL")
        for attr, text in {"phys_port_name": port_name, "phys_switch_id": switch_id, "phys_port_id": port_id}.items():
            if text:
                self.file(f"{path}/{attr}", text)
            else:
                self.error(f"{path}/{attr}", "EOPNOTSUPP")

    def rdma(self, bdf, name, node_guid, sys_guid, device, fw, active=True, layer="Ethernet", rate="100 Gb/sec (4X EDR)", netdev=None,
             mac=None, ports=1):
        path = f"{self.where[bdf]}/infiniband/{name}"
        self.link(f"sys/class/infiniband/{name}", path)
        self.link(f"{path}/device", self.where[bdf])
        roce = layer == "Ethernet"
        for attr, text in {"node_guid": guid_text(node_guid), "sys_image_guid": guid_text(sys_guid), "node_type": "1: CA",
                           "fw_ver": fw, "hca_type": f"MT{int(device, 16)}", "hw_rev": 0, "board_id": "MT_0000000359",
                           "node_desc": f"host {name}"}.items():
            self.file(f"{path}/{attr}", text)
        p = f"{path}/ports/1"
        for attr, text in {"state": "4: ACTIVE" if active else "1: DOWN", "phys_state": "5: LinkUp" if active else "3: Disabled",
                           "rate": rate, "link_layer": layer, "lid": "0x0" if roce else "0x3a4", "sm_lid": "0x0" if roce else "0x1",
                           "cap_mask": "0x00010000" if roce else "0x02514868", "pkeys/0": "0xffff"}.items():
            self.file(f"{p}/{attr}", text)
        eui = guid_of_mac(mac) ^ 0x0200000000000000 if roce and mac else node_guid
        for i in range(4):
            used = i < 2 if roce else i == 0
            self.file(f"{p}/gids/{i}", f"fe80:0000:0000:0000:{guid_text(eui)}" if used else ":".join(["0000"] * 8))
            self.file(f"{p}/gid_attrs/types/{i}", "RoCE v2" if roce and i == 1 else "IB/RoCE v1")
            self.file(f"{p}/gid_attrs/ndevs/{i}", netdev or "")
            if not used or not netdev:
                self.error(f"{p}/gid_attrs/ndevs/{i}", "EINVAL")
            if not used:
                self.error(f"{p}/gid_attrs/types/{i}", "EINVAL")
        self.file(f"{self.where[bdf]}/infiniband_verbs/uverbs{self.verbs}/ibdev", name)
        self.verbs += 1

    def sriov(self, bdf, total, vf_device, offset, stride, num=0, autoprobe=1):
        for name, text in {"sriov_totalvfs": total, "sriov_numvfs": num, "sriov_offset": offset, "sriov_stride": stride,
                           "sriov_vf_device": vf_device, "sriov_drivers_autoprobe": autoprobe, "sriov_vf_total_msix": 0}.items():
            self.file(f"{self.where[bdf]}/{name}", text)

    def vf(self, pf, n, vendor, device, offset, stride, driver, cls="020000"):
        """VF n of pf: sits beside it, with its NUMA node; gives its BDF."""
        domain, r = rid(pf)
        bdf = bdf_of(domain, r + offset + n * stride)
        above = os.path.dirname(self.where[pf]).split("/")[2:]
        self.function(bdf, vendor, device, cls, driver, self.files[f"{self.where[pf]}/numa_node"].strip(), bridges=above[1:],
                      root=above[0], cpus=self.files[f"{self.where[pf]}/local_cpulist"].strip())
        path = self.where[bdf]
        for name, text in {"irq": 0, "current_link_speed": "Unknown", "current_link_width": 0}.items():
            self.file(f"{path}/{name}", text)
        self.link(f"{path}/physfn", self.where[pf])
        self.link(f"{self.where[pf]}/virtfn{n}", path)
        return bdf

    def altnames(self, netdev, *names, max_mtu=9978, **more):
        self.netlink["links"][netdev] = {"altNames": list(names), "maxMtu": max_mtu, **more}

    def devlink(self, bdf, fw, mode=None):
        self.netlink["devlink"][bdf] = {"fw": fw, **({"eSwitchMode": mode} if mode else {})}

    def write(self, root):
        shutil.rmtree(root, ignore_errors=True)
        for folder in ["sys/bus/pci/devices", *self.folders]:
            os.makedirs(root / folder)
        for path, text in sorted(self.files.items()):
            f = root / path
            f.parent.mkdir(parents=True, exist_ok=True)
            f.write_bytes(text if isinstance(text, bytes) else text.encode())
        for path, target in sorted(self.links.items()):
            f = root / path
            f.parent.mkdir(parents=True, exist_ok=True)
            where = f.parent / target
            if not where.exists() and "/virtfn" not in path and "nowhere" not in target:
                where.mkdir(parents=True)
            f.symlink_to(target)
        (root / "errors").write_text("".join(f"{e}\n" for e in sorted(self.errors)))
        (root / "netlink.json").write_text(json.dumps(self.netlink, indent=1, sort_keys=True) + "\n")


# ---- ports of one make ----

MLX5 = {  # device id: (rate text, speed, firmware): ConnectX-6 Dx, 7, 8, BlueField-3, ConnectX-4
    "101d": ("100 Gb/sec (4X EDR)", 100000, "22.41.1000"), "1021": ("400 Gb/sec (4X NDR)", 400000, "28.39.1002"),
    "1023": ("400 Gb/sec (4X NDR)", 400000, "40.48.1132"), "a2dc": ("400 Gb/sec (4X NDR)", 400000, "32.47.3576"),
    "1013": ("100 Gb/sec (4X EDR)", 100000, "12.28.2006"),
}


def mlx5_port(t, bdf, device, netdev, rdma, card, *, port=0, ports=1, total=8, vfs=0, mtu=1500, numa=0, up=True, sriov=True, bridges=(),
              root=None, cpus="0-55,112-167", mode="legacy", ib=False, vf_driver="mlx5_core", vf_mtu=1500, autoprobe=1, admin_macs=True,
              mac=None, altnames=(), in_pods=(), vf_rdma=True, port_names=True, zero_guid=()):
    """A port of an mlx5 card and its VFs. @card makes addresses: MAC a0:88:c2:CC:CC:PP and GUIDs from it."""
    rate, speed, fw = MLX5[device]
    base = 0xa088c2000000 | card << 8
    mac = mac or mac_text(base | port)
    sys_guid = guid_of_mac(mac_text(base))
    switch_id = sys_guid.to_bytes(8, "little").hex()
    layer = "InfiniBand" if ib else "Ethernet"
    cls = "020700" if ib else "020000"
    t.function(bdf, "15b3", device, cls, "mlx5_core", numa, bridges, root, cpus=cpus)
    # a card with one port has offset 1; with two, 2 on the first and NUM_OF_VFS + 1 on the second (lspci of such cards)
    offset, stride = (1 if ports == 1 else 2 if port == 0 else total + 1), 1
    if sriov:
        t.sriov(bdf, total, "101e" if device != "1013" else "1014", offset, stride, vfs, autoprobe)
    if netdev:
        # IPoIB: 20 bytes, the last 8 are the GUID; 4092 with a 4K MTU
        address = "80:00:00:48:fe:80:00:00:00:00:00:00:" + ":".join(f"{b:02x}" for b in (sys_guid + port).to_bytes(8, "big")) if ib else mac
        t.netdev(bdf, netdev, address, 4092 if ib and mtu == 1500 else mtu, up, up, speed, None if ib else f"p{port}" if port_names else None,
                 None if ib else switch_id, ib=ib)
        t.altnames(netdev, *altnames, max_mtu=4092 if ib else 9978)
    if rdma:
        t.rdma(bdf, rdma, sys_guid + port, sys_guid, device, fw, up, layer, rate, netdev, mac)
    t.devlink(bdf, fw, mode)
    link_vfs = []
    for n in range(vfs):
        vf = t.vf(bdf, n, "15b3", "101e", offset, stride, vf_driver, cls)
        vf_mac = mac_text(0x020000000000 | card << 16 | port << 8 | n)
        admin = vf_mac if admin_macs else "00:00:00:00:00:00"
        link_vfs.append({"vf": n, "mac": admin})
        if vf_driver != "mlx5_core":
            continue
        pod = n in in_pods
        name = f"{netdev}v{n}"[-15:]
        guid = 0 if n in zero_guid else guid_of_mac(vf_mac)
        if not pod:
            vf_address = address[:36] + vf_mac[:8] if ib else vf_mac
            if ib:
                vf_address = "80:00:00:49:fe:80:00:00:00:00:00:00:" + ":".join(f"{b:02x}" for b in guid.to_bytes(8, "big"))
            t.netdev(vf, name, vf_address, 4092 if ib else vf_mtu, False, ib=ib)
            if vf_rdma and rdma:
                t.rdma(vf, f"{rdma}v{n}", guid, sys_guid, "101e", fw, False, layer, rate, name, vf_mac)
        else:  # moved to a pod with its RDMA device: empty folders stay (entries are tagged by namespace, fs/sysfs)
            t.folders += [f"{t.where[vf]}/net", f"{t.where[vf]}/infiniband"]
    if netdev:
        t.netlink["links"][netdev]["vfs"] = link_vfs
    return offset, stride


def onboard(t, bdf, name, mac, vendor="14e4", device="165f", driver="tg3", numa=0, default_route=True, speed=1000):
    """A management port on the board, without SR-IOV: BCM5720 (tg3), X550 (ixgbe)."""
    t.function(bdf, vendor, device, "020000", driver, numa, subsystem="1028:0a6b")
    t.netdev(bdf, name, mac, speed=speed)
    t.altnames(name, max_mtu=9000, defaultRoute=default_route)


def gpu(t, bdf, numa=0, device="2330"):
    """An H100 (class 0302, 3D controller): a reader of network ports must walk past it."""
    t.function(bdf, "10de", device, "030200", "nvidia", numa, subsystem="10de:16c1")


# ---- machines ----

def dell_cx6dx():
    """The machine of KServe's network-roce.yaml: two dual-port ConnectX-6 Dx (101d), netdev p2 on 0000:5c:00.0 and p13 on
    0000:bb:00.1; the manifest's rootDevices name both ports of each card, its pfNames one. Dell names onboard ports eno8303,
    eno8403 (PowerEdge XE9680), CPU lists interleave by socket. Firmware: SRIOV_EN=1, NUM_OF_VFS=8."""
    t = Tree("node-dell-1")
    even, odd = ",".join(str(i) for i in range(0, 64, 2)), ",".join(str(i) for i in range(1, 64, 2))
    onboard(t, "0000:04:00.0", "eno8303", "ec:2a:72:00:00:10")
    onboard(t, "0000:04:00.1", "eno8403", "ec:2a:72:00:00:11", default_route=False)
    for p, name in enumerate(("p2", "p3")):
        mlx5_port(t, f"0000:5c:00.{p}", "101d", name, f"mlx5_{p}", 0x5c, port=p, ports=2, bridges=("0000:5b:01.0",), root="pci0000:5b",
                  cpus=even, altnames=(f"enp92s0f{p}np{p}",))
    for p, name in enumerate(("p12", "p13")):
        mlx5_port(t, f"0000:bb:00.{p}", "101d", name, f"mlx5_{p + 2}", 0xbb, port=p, ports=2, numa=1, bridges=("0000:ba:01.0",),
                  root="pci0000:ba", cpus=odd, altnames=(f"enp187s0f{p}np{p}",))
    gpu(t, "0000:5d:00.0")
    gpu(t, "0000:ab:00.0", 1)
    return t


DGX_RAILS = (  # NVIDIA DGX H100/H200 user guide, network tables: NIC, netdev, RDMA device, NUMA; bridges of NVIDIA's infra-controller data
    ("18", "enp24s0np0", "mlx5_0", 0, ("15", "15:01.0", "16:00.0", "17:00.0")),
    ("40", "enp64s0np0", "mlx5_3", 0, ("3d", "3d:01.0", "3e:00.0", "3f:00.0")),
    ("4f", "enp79s0np0", "mlx5_4", 0, ("4c", "4c:01.0", "4d:00.0", "4e:00.0")),
    ("5e", "enp94s0np0", "mlx5_5", 0, ("5b", "5b:01.0", "5c:00.0", "5d:00.0")),
    ("9a", "enp154s0np0", "mlx5_6", 1, ("97", "97:01.0", "98:00.0", "99:00.0")),
    ("c0", "enp192s0np0", "mlx5_9", 1, ("bd", "bd:01.0", "be:00.0", "bf:00.0")),
    ("ce", "enp206s0np0", "mlx5_10", 1, ("cb", "cb:01.0", "cc:00.0", "cd:00.0")),
    ("dc", "enp220s0np0", "mlx5_11", 1, ("d9", "d9:01.0", "da:00.0", "db:00.0")),
)


def hgx_h100():
    """A DGX H100's board: eight ConnectX-7 rails beside the GPUs, two BlueField-3 cards of two ports for storage, onboard X550.
    GPU addresses from the same guide; cpus 0-55,112-167 and 56-111,168-223."""
    t = Tree("hgx-1", rdma="exclusive")
    cpus = ("0-55,112-167", "56-111,168-223")
    onboard(t, "0000:0b:00.0", "eno3", "a0:36:9f:00:00:01", "8086", "1563", "ixgbe", speed=10000)
    for bus, netdev, rdma, numa, (root, *bridges) in DGX_RAILS:
        mlx5_port(t, f"0000:{bus}:00.0", "1021", netdev, rdma, int(bus, 16), total=16, numa=numa, mtu=9000, cpus=cpus[numa],
                  bridges=tuple(f"0000:{b}" for b in bridges), root=f"pci0000:{root}")
    for bus, names, rdma, numa in (("29", ("enp41s0f0np0", "enp41s0f1np1"), (1, 2), 0), ("aa", ("enp170s0f0np0", "enp170s0f1np1"), (7, 8), 1)):
        for p in range(2):
            mlx5_port(t, f"0000:{bus}:00.{p}", "a2dc", names[p], f"mlx5_{rdma[p]}", int(bus, 16), port=p, ports=2, total=16, numa=numa,
                      cpus=cpus[numa])
    for bus, numa in (("1b", 0), ("43", 0), ("52", 0), ("61", 0), ("9d", 1), ("c3", 1), ("d1", 1), ("df", 1)):
        gpu(t, f"0000:{bus}:00.0", numa)
    return t


def intel_port(t, bdf, name, mac, device, driver, total, vf_device, offset, *, stride=1, vfs=0, port_name=None, port_id=None, speed=25000,
               vf_driver="iavf", max_mtu=9702, mode=None, fw=None, up=True, mtu=1500, admin="00:00:00:00:00:00"):
    t.function(bdf, "8086", device, "020000", driver, 0, subsystem="8086:0000")
    t.sriov(bdf, total, vf_device, offset, stride, vfs)
    t.netdev(bdf, name, mac, mtu, up, up, speed, port_name, None, port_id)
    t.altnames(name, max_mtu=max_mtu, vfs=[{"vf": n, "mac": admin} for n in range(vfs)])
    if fw:
        t.devlink(bdf, fw, mode)
    for n in range(vfs):
        vf = t.vf(bdf, n, "8086", vf_device, offset, stride, vf_driver)
        t.netdev(vf, f"{name}v{n}", mac_text(0x66aabb000000 | rid(bdf)[1] << 8 | n), 1500, False)


def e810():
    """E810-C in slot 3 of a DGX (ens6f0, ens6f1, irdma0, irdma1): VFs 1889 at offset 8, 128 a port on two ports, e-switch modes by devlink,
    phys_port_name p<pf> (Linux drivers/net/ethernet/intel/ice). Four VFs on the first port."""
    t = Tree("e810-1")
    for p in range(2):
        bdf = f"0000:82:00.{p}"
        intel_port(t, bdf, f"ens6f{p}", f"b4:96:91:00:00:{p:02x}", "1592", "ice", 128, "1889", 8 if p == 0 else 135, vfs=4 if p == 0 else 0,
                   port_name=f"p{p}", mode="legacy", fw="4.40", speed=100000)
        t.rdma(bdf, f"irdma{p}", 0xb4969100fffe0000 | p, 0xb4969100fffe0000, "1592", "1.70", netdev=f"ens6f{p}", mac=f"b4:96:91:00:00:{p:02x}")
    return t


def x710():
    """X710 with four ports: VFs 154c at offset 16, 32 a port, `dev info` but no e-switch by devlink, phys_port_id is the MAC, unset VF MACs are
    zero in the PF's list (Linux drivers/net/ethernet/intel/i40e; dumps in issues of sriov-network-device-plugin)."""
    t = Tree("x710-1", kernel="5.15.0-122-generic")
    for p in range(4):
        mac = f"3c:fd:fe:00:00:{p:02x}"
        intel_port(t, f"0000:3b:00.{p}", f"ens3f{p}", mac, "1572", "i40e", 32, "154c", 16 + 31 * p, vfs=2 if p == 0 else 0,
                   port_id=mac.replace(":", ""), fw="8.30", speed=10000, up=p < 2)
    return t


def igb():
    """Two 82576 as QEMU emulates them (hw/net/igb.c): 8 VFs in the capability, 7 by the driver, offset 384, stride 2, no RDMA."""
    t = Tree("lab-1", iommu=False)
    for p in range(2):
        bus = p + 1
        intel_port(t, f"0000:{bus:02x}:00.0", f"p{p + 2}", f"52:54:00:12:34:{p:02x}", "10c9", "igb", 7, "10ca", 384, stride=2, max_mtu=9216, speed=1000)
    return t


def no_sriov():
    """A ConnectX-4 whose firmware has SR-IOV off has no sriov_* file at all (gathered tree 2p8co2t of the hwloc project); one IB port, one
    Ethernet port; beside it a Wi-Fi card (class 0280) that is no port, and a virtio port, whose netdev hangs one level deeper."""
    t = Tree("plain-1", iommu=False)
    mlx5_port(t, "0000:18:00.0", "1013", "enp24s0f0np0", "mlx5_0", 0x18, port=0, ports=2, sriov=False)
    mlx5_port(t, "0000:18:00.1", "1013", "ibp24s0f1", "mlx5_1", 0x18, port=1, ports=2, sriov=False, ib=True, mode=None)
    t.function("0000:02:00.0", "8086", "2725", "028000", "iwlwifi")
    t.file(f"{t.where['0000:02:00.0']}/ieee80211/phy0/index", 0)
    t.netdev("0000:02:00.0", "wlp2s0", "00:11:22:33:44:55")
    path = t.function("0000:00:03.0", "1af4", "1000", "020000", "virtio-pci", -1)
    for attr, text in {"address": "52:54:00:00:00:01", "mtu": 1500, "type": 1, "flags": "0x1003", "operstate": "up", "carrier": 1, "speed": -1}.items():
        t.file(f"{path}/virtio0/net/eth0/{attr}", text)
    t.link("sys/class/net/eth0", f"{path}/virtio0/net/eth0")
    t.altnames("eth0", max_mtu=65535, defaultRoute=True)
    return t


def broken():
    """Nothing here is from a machine: each port is wrong in another way, and each must be shown with its problem."""
    t = Tree("broken-1")
    for i in range(10):
        mlx5_port(t, f"0000:{i + 16:02x}:00.0", "101d", f"bad{i}", f"mlx5_{i}", i, vfs=2 if i in (4, 5) else 0)
    at = [t.where[f"0000:{i + 16:02x}:00.0"] for i in range(10)]
    for name in ("uevent", "vendor"):  # 0: no vendor
        del t.files[f"{at[0]}/{name}"]
    t.file(f"{at[1]}/sriov_totalvfs", "99999999999999999999")
    t.error(f"{at[2]}/sriov_numvfs", "EIO")
    t.file(f"{at[3]}/sriov_numvfs", 4)  # and no virtfn
    t.links[f"{at[4]}/virtfn1"] = "../nowhere"
    t.file(f"{at[5]}/sriov_numvfs", 200)  # above the total
    t.file(f"{at[6]}/net/bad6/mtu", "-70000")
    t.file(f"{at[7]}/net/bad7/mtu", "ninety")
    t.files[f"{at[8]}/net/bad8/address"] = b"\xff\xfe\x1b[31mred\n"  # not text, and an escape sequence
    t.file(f"{at[8]}/numa_node", "many")
    del t.files[f"{at[9]}/sriov_numvfs"]
    t.links["sys/bus/pci/devices/0000:ff:00.0"] = "../../../devices/nowhere"  # went away while the folder was read
    t.files[f"{at[0]}/class"] = "0x020000\n"
    return t


def bench_16x16():
    """Sixteen ports with sixteen VFs each, for bench/inventory; among 40 other functions, as a server has."""
    t = Tree("bench-1", rdma="exclusive")
    for i in range(16):
        mlx5_port(t, f"0000:{0x10 + 8 * i:02x}:00.0", "1021", f"enp{0x10 + 8 * i}s0np0", f"mlx5_{i}", 0x10 + i, total=16, vfs=16, numa=i // 8, mtu=9000,
                  vf_mtu=9000)
    for i in range(40):
        t.function(f"0000:{i + 0x90:02x}:1f.0", "8086", "a1a1", "0c0330", "xhci_hcd", subsystem="8086:7270")
    return t


def switchdev():
    """A ConnectX-6 Dx in switchdev mode with four VFs: representors stand beside the uplink under the PF, share its phys_switch_id, and are
    called pf0vfN; their names sort before the uplink's on purpose."""
    t = Tree("switchdev-1")
    mlx5_port(t, "0000:3b:00.0", "101d", "enp59s0f0np0", "mlx5_0", 0x3b, ports=2, vfs=4, mode="switchdev", mtu=9000, vf_mtu=9000)
    sid = t.files[f"{t.where['0000:3b:00.0']}/net/enp59s0f0np0/phys_switch_id"].strip()
    for n in range(4):
        t.netdev("0000:3b:00.0", f"enp59s0f0npf0vf{n}"[-15:], mac_text(0x7e0000000000 | n), port_name=f"pf0vf{n}", switch_id=sid)
    t.netdev("0000:3b:00.0", "a_subfunction", mac_text(0x7e0000000100), port_name="pf0sf88", switch_id=sid)
    return t


def bond():
    """North-south card of a PowerEdge XE9680: both ports in a bond show one MAC, the one RDMA device is mlx5_bond_0 under the first
    function, the second has none. The bond carries the default route."""
    t = Tree("bond-1")
    mac = mac_text(0xa088c2001b00)
    mlx5_port(t, "0000:1b:00.0", "101d", "enp27s0f0np0", "mlx5_bond_0", 0x1b, port=0, ports=2, mac=mac)
    mlx5_port(t, "0000:1b:00.1", "101d", "enp27s0f1np1", None, 0x1b, port=1, ports=2, mac=mac)
    for p in ("enp27s0f0np0", "enp27s0f1np1"):
        t.netlink["links"][p]["defaultRoute"] = True
    mlx5_port(t, "0000:3c:00.0", "1021", "enp60s0np0", "mlx5_3", 0x3c)
    return t


def states():
    """VFs in the states that an apply, a pod or another tool leaves: unbound with autoprobe off (killed), vfio-pci, moved to pods,
    RDMA node GUID zero, no admin MAC, MTU of the port and the VFs as wanted (nothing to do)."""
    t = Tree("states-1", rdma="exclusive")
    common = {"total": 8, "vfs": 4, "mtu": 9000, "vf_mtu": 9000}
    mlx5_port(t, "0000:10:00.0", "101d", "killed", "mlx5_0", 0x10, vf_driver=None, autoprobe=0, admin_macs=False, **common)
    mlx5_port(t, "0000:20:00.0", "101d", "vfio", "mlx5_1", 0x20, vf_driver="vfio-pci", **common)
    mlx5_port(t, "0000:30:00.0", "101d", "pods", "mlx5_2", 0x30, in_pods=(0, 2), **common)
    mlx5_port(t, "0000:40:00.0", "101d", "noguid", "mlx5_3", 0x40, zero_guid=(1,), **common)
    mlx5_port(t, "0000:50:00.0", "101d", "nomac", "mlx5_4", 0x50, admin_macs=False, **common)
    mlx5_port(t, "0000:60:00.0", "101d", "right", "mlx5_5", 0x60, **common)
    mlx5_port(t, "0000:70:00.0", "101d", "down", "mlx5_6", 0x70, up=False)
    return t


def ib():
    """ConnectX-7 InfiniBand ports with IPoIB: class 0207, type 32, MTU 4092; the second has eight VFs whose GUIDs were never set."""
    t = Tree("ib-1", rdma="exclusive")
    mlx5_port(t, "0000:41:00.0", "1021", "ibp65s0", "mlx5_0", 0x41, ib=True, mode=None)
    mlx5_port(t, "0000:54:00.0", "1021", "ibp84s0", "mlx5_1", 0x54, ib=True, mode=None, vfs=8, zero_guid=range(8))
    return t


def guest_vf():
    """An Azure ND H100 v5 guest: VFs 15b3:101e of class 0207 in domains of their own, without sriov_*, physfn or a switch above
    (Azure's ndv5-topo.xml)."""
    t = Tree("guest-1", kernel="5.15.0-1074-azure", iommu=False)
    for i in range(8):
        bdf = f"{0x101 + i:04x}:00:00.0"
        t.function(bdf, "15b3", "101e", "020700", "mlx5_core", i // 4, cpus="0-47" if i < 4 else "48-95")
        t.netdev(bdf, f"ibP{0x101 + i}s{i}", "80:00:00:49:fe:80:00:00:00:00:00:00:00:15:5d:ff:fe:33:00:0" + str(i), 4092, False, ib=True)
        t.rdma(bdf, f"mlx5_ib{i}", 0x00155dfffe330000 | i, 0x00155dfffe330000 | i, "101e", "28.39.1002", True, "InfiniBand", "400 Gb/sec (4X NDR)")
    return t


def gb200():
    """A DGX GB200 tray: ConnectX in domains 0000, 0002, 0010, 0012, names with P<domain> in decimal; numa_node as the board gives it, and one
    port for which firmware gives none (-1)."""
    t = Tree("gb200-1", kernel="6.8.0-1021-nvidia-64k")
    for domain, name, rdma, numa in (("0000", "enp3s0np0", 0, 0), ("0002", "enP2p3s0np0", 1, 0), ("0010", "enP16p3s0np0", 4, 1), ("0012", "enP18p3s0np0", 5, -1)):
        mlx5_port(t, f"{domain}:03:00.0", "1023", name, f"mlx5_{rdma}", int(domain, 16) + 3, numa=numa, total=16, vfs=2 if domain == "0010" else 0,
                  root=f"pci{domain}:00", bridges=(f"{domain}:00:00.0", f"{domain}:01:00.0", f"{domain}:02:00.0"), cpus="0-71" if numa < 1 else "72-143")
    return t


def many_vfs():
    """The most VFs that mlx5 firmware offers a port: 127."""
    t = Tree("many-1")
    mlx5_port(t, "0000:b1:00.0", "101d", "enp177s0f0np0", "mlx5_0", 0xb1, ports=2, total=127, vfs=127)
    return t


KINDS = {f.__name__.replace("_", "-"): f for f in (dell_cx6dx, hgx_h100, e810, x710, igb, no_sriov, broken, bench_16x16, switchdev, bond, states, ib,
                                                   guest_vf, gb200, many_vfs)}


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-") or any(k not in KINDS for k in sys.argv[2:]):
        print(__doc__, "\nkinds:", " ".join(KINDS), file=sys.stderr)
        return 2
    for kind in sys.argv[2:] or KINDS:
        KINDS[kind]().write(pathlib.Path(sys.argv[1]) / kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
