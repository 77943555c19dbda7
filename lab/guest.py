# SPDX-License-Identifier: Apache-2.0
"""The lab: one or two emulated nodes with real SR-IOV ports and soft RoCE, booted from this machine's own root.

    with Lab(nodes=2) as (a, b):
        a.sh("echo 2 >/sys/class/net/p0/device/sriov_numvfs")
        r = b.run("ping -c1 10.0.0.1", timeout=30)      # r.rc, r.out, r.err
        agent = a.spawn("kvrail agent --standalone --soft-roce")
        agent.expect("ready", timeout=20)
        a.power_cycle()                                  # as if the plug was pulled; the disk stays

Every node has two ports, p0 and p1 (QEMU's igb: an Intel 82576, 7 VFs each); p0 of all nodes are linked, and so are all p1.
A node sees this machine's files, read-only at their own paths; what it writes goes to its own disk, which lives as long as
the Lab. /run, /tmp and /dev/shm are empty. Needs neither root nor KVM.
"""
import base64
import io
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from . import image

TREE = pathlib.Path(__file__).resolve().parent.parent
LOGS = TREE / "build/lab/logs"
PORTS = 2
MAX_MEMORY = 2800  # MiB. From 2816 on, RAM lies above 4 GiB, firmware puts VF BARs there too, and QEMU 10's igb does not answer at them: no VF has carrier
MAX_NODES = 2  # a link is a point-to-point stream between two QEMUs
BOOT_TIMEOUT = 240
# not by a preexec_fn: a child of a process with threads of its own (gRPC in tests) that runs Python can hang
DIES_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]


class LabError(Exception):
    pass


class CommandFailed(LabError):
    def __init__(self, node, command, result):
        super().__init__(f"{node}: {command!r} ended with {result.rc}\n{result.out}{result.err}")
        self.result = result


class CommandTimeout(LabError):
    pass


class Result:
    """What a command left: rc (negative: the signal that ended it), out, err, seconds."""

    def __init__(self, rc, out, err, seconds):
        self.rc, self.out, self.err, self.seconds = rc, out, err, seconds

    def __repr__(self):
        return f"Result(rc={self.rc}, out={self.out!r}, err={self.err!r})"


class Process:
    """A command running in a guest. Its output is collected as it comes."""

    def __init__(self, guest, id, command, stream):
        self.guest, self.id, self.command = guest, id, command
        self.stream = stream  # called with bytes as they come, or None
        self.raw = {"out": bytearray(), "err": bytearray()}
        self.rc = None
        self.changed = threading.Condition()
        self.started = time.monotonic()

    @property
    def out(self):
        return self.raw["out"].decode(errors="replace")

    @property
    def err(self):
        return self.raw["err"].decode(errors="replace")

    def _message(self, m):
        with self.changed:
            for name in "out", "err":
                if name in m:
                    data = base64.b64decode(m[name])
                    self.raw[name] += data
                    if self.stream:
                        self.stream(data)
            if "rc" in m:
                self.rc = m["rc"]
            self.changed.notify_all()

    def _lost(self):
        with self.changed:
            self.changed.notify_all()

    def _wait_for(self, condition, timeout):
        with self.changed:
            end = time.monotonic() + timeout
            while not condition():
                if self.rc is None and self.guest.dead:
                    raise LabError(f"{self.guest.name} went away while {self.command!r} ran\n{self.guest.console_tail()}")
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(left)
        return True

    def type(self, data):
        """Bytes for a command that was started on a pty."""
        self.guest._send({"id": self.id, "in": base64.b64encode(data).decode()})

    def signal(self, number):
        """To the command's whole process group."""
        if self.rc is None:
            self.guest._send({"id": self.id, "signal": int(number)})

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(20)

    def expect(self, text, timeout=60):
        """Waits until @text stands in the output; the command must still have something to say."""
        ok = self._wait_for(lambda: text in self.out or text in self.err or self.rc is not None, timeout)
        if text in self.out or text in self.err:
            return
        state = f"ended with {self.rc}" if ok else f"still runs after {timeout} s"
        raise LabError(f"{self.guest.name}: {self.command!r} {state} without saying {text!r}\n{self.out}{self.err}")

    def wait(self, timeout=60):
        if not self._wait_for(lambda: self.rc is not None, timeout):
            self.guest._send({"id": self.id, "signal": int(signal.SIGKILL)})
            self._wait_for(lambda: self.rc is not None, 10)
            raise CommandTimeout(f"{self.guest.name}: {self.command!r} ran longer than {timeout} s and was killed\n{self.out}{self.err}")
        return Result(self.rc, self.out, self.err, time.monotonic() - self.started)


def _kvm():
    """Hardware virtualisation that can be used by this user; KVRAIL_LAB_ACCEL=tcg or kvm overrides."""
    forced = os.environ.get("KVRAIL_LAB_ACCEL")
    if forced:
        return forced == "kvm"
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and (" vmx" in flags or " svm" in flags)


class Guest:
    """One node. Made by Lab; its methods may be called from several threads, except the ones that start QEMU."""

    def __init__(self, lab, number):
        self.lab, self.number = lab, number
        self.name = f"node{number}"
        self.disk = lab.dir / f"{self.name}.disk"
        self.share = lab.dir / self.name  # the guest's /run/lab
        self.share.mkdir()
        self.qemu = self.receiver = None
        self.dead = True
        self.boots = 0
        self.boot_seconds = None

    # -- life ------------------------------------------------------------------------------------------------------
    def _start(self):
        """Starts QEMU; _await() waits for the guest. Call from a thread that outlives the guest: it dies with its starter."""
        self.boots += 1
        self.log = LOGS / f"{self.lab.name}-{self.name}-{self.boots}.log"
        self.processes, self.next_id, self.copies = {}, 1, 0
        self.lock = threading.Lock()
        self.up = threading.Event()
        self.started = time.monotonic()
        ours, theirs = socket.socketpair()
        with open(self.log, "wb") as log:
            self.qemu = subprocess.Popen([*DIES_WITH_PARENT, *self._arguments(theirs.fileno())], stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=subprocess.STDOUT, pass_fds=[theirs.fileno()])
        theirs.close()
        self.channel, self.dead = ours, False
        self.receiver = threading.Thread(target=self._receive, args=(ours,), daemon=True)
        self.receiver.start()

    def _arguments(self, channel):
        lab = self.lab
        words = {"name": self.name, "tree": TREE, "modules": image.modules_dir(), "rdma": lab.rdma, "state": lab.state}
        append = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on " + lab.append
        append += "".join(f" kvrail.{k}={v}" for k, v in words.items() if v)
        arguments = [
            "qemu-system-x86_64", "-name", self.name, "-M", "q35", "-m", str(lab.memory), "-smp", str(lab.cpus),
            *(["-accel", "kvm", "-cpu", "host"] if lab.kvm else ["-accel", "tcg,thread=multi", "-cpu", "max"]),
            "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nic", "none", "-no-user-config",
            "-kernel", str(image.kernel()), "-initrd", str(lab.initramfs), "-append", append,
            "-virtfs", "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap",
            "-drive", f"file={self.disk},format=raw,if=virtio,cache=writeback",
            "-virtfs", f"local,path={self.share},mount_tag=exchange,security_model=none,multidevs=remap",
            "-chardev", f"socket,id=channel,fd={channel}", "-serial", "chardev:channel",
        ]
        for port in range(PORTS):
            arguments += ["-device", f"pcie-root-port,id=rp{port},chassis={port + 1},slot={port + 1}",
                          "-netdev", self._link(port),
                          "-device", f"igb,bus=rp{port},netdev=link{port},mac=52:54:00:4b:{self.number:02x}:{port:02x}"]
        more = lab.qemu_arguments
        return arguments + list(more(self) if callable(more) else more)

    def _link(self, port):
        if len(self.lab.guests) == 1:  # a hub, so that the port has carrier
            return f"hubport,id=link{port},hubid={port}"
        path = self.lab.dir / f"link{port}"
        server = self.number == 1
        return (f"stream,id=link{port},server={'on' if server else 'off'},addr.type=unix,addr.path={path}"
                + ("" if server else ",reconnect-ms=200"))

    def _await(self, timeout):
        left = self.started + timeout - time.monotonic()
        if not self.up.wait(max(left, 0)) or self.dead:
            why = f"QEMU ended with {self.qemu.poll()}" if self.dead else f"silent for {timeout} s"
            self._kill()
            raise LabError(f"{self.name} did not boot: {why}\n{self.console_tail()}")
        self.boot_seconds = time.monotonic() - self.started

    def _kill(self):
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
        if self.qemu:
            self.qemu.wait()
            self.receiver.join()  # what it says of this boot must not be taken for the next one's

    def power_off(self):
        """Pulls the plug: nothing that the guest had not yet written to its disk survives."""
        self._kill()

    def power_on(self, timeout=BOOT_TIMEOUT):
        self._start()
        self._await(timeout)

    def power_cycle(self, timeout=BOOT_TIMEOUT):
        self.power_off()
        self.power_on(timeout)

    def wait_off(self, timeout=60):
        """Waits until the guest has powered itself off."""
        try:
            self.qemu.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} still runs after {timeout} s") from None
        self.receiver.join()

    # -- the channel -----------------------------------------------------------------------------------------------
    def _receive(self, channel):
        buffer = b""
        try:
            while data := channel.recv(1 << 20):
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    m = json.loads(line)
                    if "hello" in m:
                        self.guest_uptime = m["hello"]
                        self.up.set()
                    elif m["id"] in self.processes:
                        self.processes[m["id"]]._message(m)
        except OSError:
            pass
        if channel is self.channel:
            self.dead = True
            self.up.set()
            for p in list(self.processes.values()):
                p._lost()

    def _send(self, message):
        with self.lock:
            try:
                self.channel.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                raise LabError(f"{self.name} is off\n{self.console_tail()}") from None

    # -- commands --------------------------------------------------------------------------------------------------
    def spawn(self, command, env=None, cwd=None, input=None, stream=None, pty=None):
        """Starts a shell command (a string) or a program (a list) as root and returns its Process."""
        build = TREE / os.environ.get("KVRAIL_BUILD", "build")
        environment = {"PATH": f"{build}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                       "USER": "root", "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb"), **(env or {})}
        with self.lock:
            id, self.next_id = self.next_id, self.next_id + 1
            p = self.processes[id] = Process(self, id, command, stream)
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(a) for a in command]
        stdin = self._shared(f"stdin-{id}", input) if input is not None else None
        self._send({"id": id, "run": argv, "env": environment, "cwd": str(cwd or TREE), "stdin": stdin, "pty": pty})
        return p

    def _shared(self, name, data):
        (self.share / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return f"/run/lab/{name}"

    def run(self, command, timeout=60, check=False, **options):
        """Runs a command to its end. A background process that it leaves behind lives on."""
        p = self.spawn(command, **options)
        result = p.wait(timeout)
        del self.processes[p.id]
        if check and result.rc:
            raise CommandFailed(self.name, command, result)
        return result

    def sh(self, command, timeout=60, **options):
        """Runs a command that must succeed and returns its standard output, stripped."""
        return self.run(command, timeout, check=True, **options).out.strip()

    def show(self, command, timeout=300, **options):
        """Runs a command with its output on this terminal as it comes; returns the Result."""
        def stream(data):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        sys.stdout.flush()
        return self.run(command, timeout, stream=stream, **options)

    def wait_for(self, command, timeout=60, every=0.5):
        """Repeats a command until it succeeds; returns its output."""
        end = time.monotonic() + timeout
        while True:
            result = self.run(command, timeout)
            if result.rc == 0:
                return result.out.strip()
            if time.monotonic() > end:
                raise CommandFailed(self.name, command, result)
            time.sleep(every)

    def put(self, path, data, mode=0o644):
        """Writes a file (bytes or text) in the guest."""
        self.run(["/bin/sh", "-ec", 'mkdir -p "${1%/*}"; cat >"$1"; chmod "$2" "$1"', "put", str(path), f"{mode:o}"],
                 input=data, check=True)

    def get(self, path):
        """A guest's file as bytes."""
        with self.lock:
            self.copies += 1
            name = f"get-{self.copies}"
        self.run(["cp", path, f"/run/lab/{name}"], check=True)
        copy = self.share / name
        data = copy.read_bytes()
        copy.unlink()
        return data

    def console_tail(self, lines=40):
        try:
            text = self.log.read_text(errors="replace").replace("\r", "")
        except OSError:
            return ""
        return f"--- console of {self.name}, the end of {self.log}\n" + "\n".join(text.splitlines()[-lines:])

    def interact(self, command=("bash", "-l")):
        """A shell on this terminal; returns its exit status."""
        import fcntl
        import struct
        import termios
        import tty
        rows, columns = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[:2]
        p = self.spawn(list(command), pty=[rows, columns], stream=lambda data: os.write(1, data))
        before = termios.tcgetattr(0)
        try:
            tty.setraw(0)
            while p.rc is None and not self.dead:
                if select.select([0], [], [], 0.1)[0]:
                    p.type(os.read(0, 1024))
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, before)
        return p.rc


class Lab:
    """Boots @nodes guests. A context manager that gives the guests; on leaving it, everything is gone but the logs.

    @rdma      "exclusive": an RDMA device belongs to one network namespace; "shared": every namespace sees it
    @append    further words for the kernel's command line
    @qemu_arguments  further arguments for every QEMU: a list, or a function that is given the Guest
    @disk      bytes of the disk that the root's changes go to (a sparse file)
    @name      a prefix of the log files under build/lab/logs
    """

    def __init__(self, nodes=1, memory=2048, cpus=1, rdma="exclusive", append="", qemu_arguments=(), disk=image.DISK_BYTES,
                 name="lab"):
        if not 1 <= nodes <= MAX_NODES:
            raise LabError(f"{nodes} nodes: this lab has 1 to {MAX_NODES}")
        if memory > MAX_MEMORY:
            raise LabError(f"{memory} MiB: igb's VFs work up to {MAX_MEMORY} MiB")
        problem = missing()
        if problem:
            raise LabError(problem)
        self.memory, self.cpus, self.rdma, self.append = memory, cpus, rdma, append
        self.qemu_arguments, self.disk, self.name, self.state = qemu_arguments, disk, name, None
        self.kvm = _kvm()
        self.dir = None
        self.guests = [None] * nodes

    def start(self, timeout=BOOT_TIMEOUT):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.initramfs = image.initramfs()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kvrail-lab-"))
        self.guests = [Guest(self, n + 1) for n in range(len(self.guests))]
        try:
            for g in self.guests:
                image.make_disk(g.disk, self.disk)
            for g in self.guests:
                g._start()
            for g in self.guests:
                g._await(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        for g in self.guests:
            if g:
                g._kill()
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start().guests

    def __exit__(self, *_):
        self.stop()


def missing():
    """Why the lab cannot run here, or None."""
    for program in "qemu-system-x86_64", "mke2fs":
        if not image.find(program):
            return f"the lab needs {program}: run 'make deps'"
    devices = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True).stdout
    for device in '"igb"', '"virtio-9p-pci"':
        if device not in devices:
            return f"this QEMU has no device {device}: run 'make deps'"
    return image.missing()
