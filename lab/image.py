# SPDX-License-Identifier: Apache-2.0
"""What a guest boots from: the kernel that tools/deps unpacked, an initramfs made of busybox and its modules, an empty disk."""
import hashlib
import lzma
import os
import pathlib
import re
import shutil
import struct
import subprocess

TREE = pathlib.Path(__file__).resolve().parent.parent
KERNEL = TREE / ".deps/kernel"
CACHE = TREE / "build/lab"
BUSYBOX = "/bin/busybox"
SIGNATURE_MAGIC = b"~Module signature appended~\n"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
DISK_BYTES = 1 << 30  # sparse

# Loaded before the root is there, then what SR-IOV and RoCE need; what these depend on comes by itself.
MODULES = """virtio_pci virtio_blk 9p 9pnet_virtio overlay ext4
	igb igbvf ib_core ib_uverbs rdma_rxe rdma_cm rdma_ucm ib_umad
	macvlan veth dummy""".split()


def find(program):
    return shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")


def modules_dir():
    """The one kernel's modules, as an absolute path."""
    return next(iter(sorted(KERNEL.resolve().glob("usr/lib/modules/*/kernel")))).parent


def _begin(path):
    """A file to write before it is renamed to @path; what @path replaces goes away."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob(path.name.split("-")[0] + "-*"):
        old.unlink(missing_ok=True)
    return CACHE / f".{path.name}.{os.getpid()}"


def kernel():
    """The kernel proper, out of its compressed envelope when zstd is there: unpacking takes an emulated CPU two seconds.
    QEMU starts such an ELF file by its PVH entry."""
    envelope = modules_dir() / "vmlinuz"
    image = envelope.read_bytes()
    sectors = image[0x1F1] or 4  # the x86 boot protocol's header, Documentation/arch/x86/boot.rst
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[(sectors + 1) * 512 + offset:][:length]
    if not find("zstd") or not payload.startswith(ZSTD_MAGIC):
        return envelope
    path = CACHE / f"vmlinux-{hashlib.sha256(payload).hexdigest()[:12]}"
    if not path.exists():
        part = _begin(path)
        with open(part, "wb") as f:
            # the kernel's build appends the unpacked size, which zstd takes for a broken frame and says so
            subprocess.run(["zstd", "-dcq"], input=payload[:-4], stdout=f, check=True)
        part.rename(path)
    return path


def missing():
    if not list(KERNEL.glob("usr/lib/modules/*/vmlinuz")):
        return "the lab's kernel is not there: run 'make deps'"
    if not os.access(BUSYBOX, os.X_OK):
        return f"the lab needs a static {BUSYBOX}: run 'make deps'"
    return None


def _module_files():
    return {p.name.split(".ko")[0].replace("-", "_"): p for p in modules_dir().rglob("*.ko*")}


def _read_module(path):
    """A module without its signature: checking 30 of them takes an emulated CPU a second."""
    content = lzma.open(path).read() if path.suffix == ".xz" else path.read_bytes()
    if content.endswith(SIGNATURE_MAGIC):
        end = len(content) - len(SIGNATURE_MAGIC)
        (length,) = struct.unpack(">I", content[end - 4:end])  # struct module_signature, kernel include/linux/module_signature.h
        content = content[:end - 12 - length]
    return content


def _load_order():
    """[(name, content)] of MODULES and all they depend on, each after what it needs. What is built in has no file."""
    files, order = _module_files(), {}

    def add(name):
        name = name.replace("-", "_")
        if name in order or name not in files:
            return
        content = _read_module(files[name])
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for d in filter(None, depends.group(1).decode().split(",")) if depends else ():
            add(d)
        order[name] = content

    for m in MODULES:
        add(m)
    return list(order.items())


def _cpio(entries):
    """A newc archive of (path, mode, content)."""
    out = bytearray()
    for number, (path, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        name = path.encode() + b"\0"
        out += b"070701" + b"".join(b"%08x" % f for f in (
            number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)) + name
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return out


def initramfs():
    """Path of the initramfs; made anew only when the kernel, busybox, the list of modules or the init script changed."""
    init = TREE / "lab/init"
    key = hashlib.sha256(repr([str(modules_dir()), os.stat(BUSYBOX).st_size, MODULES]).encode() + init.read_bytes()
                         + pathlib.Path(__file__).read_bytes()).hexdigest()[:12]
    path = CACHE / f"initramfs-{key}"
    if path.exists():
        return path
    modules = _load_order()
    entries = [(d, 0o040755, b"") for d in ("bin", "dev", "proc", "sys", "modules")]
    entries += [("bin/busybox", 0o100755, pathlib.Path(BUSYBOX).read_bytes()), ("init", 0o100755, init.read_bytes())]
    entries += [(f"modules/{name}.ko", 0o100644, content) for name, content in modules]
    entries += [("modules/order", 0o100644, "".join(f"{name}.ko\n" for name, _ in modules).encode())]
    part = _begin(path)
    part.write_bytes(_cpio(entries))
    part.rename(path)
    return path


def make_disk(path, size=DISK_BYTES):
    with open(path, "wb") as f:
        f.truncate(size)
    subprocess.run([find("mke2fs"), "-q", "-t", "ext4", "-F", "-E", "lazy_itable_init=0,nodiscard", "-N", str(size >> 14), "-J", "size=4", str(path)],
                   check=True, capture_output=True)
