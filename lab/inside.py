# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a lab guest: runs what the host asks for over the second serial port, several commands at a time.

Both directions carry lines of JSON. The host sends
  {"id": N, "run": [argv], "env": {..}, "cwd": dir, "stdin": file, "pty": [rows, columns] or null}
  {"id": N, "in": base64} (typed on a pty), {"id": N, "signal": number} to the process group
and receives {"id": N, "out"|"err": base64}, then {"id": N, "rc": exit status or -signal}; {"hello": uptime} comes first.
Nothing large may come in this way, a UART has no flow control: files pass through the share on /run/lab.
(A virtio-serial port would be the obvious choice, but Debian's 7.3 kernel has no virtio_console.) Imports are few: starting Python takes a second on an emulated CPU.
"""
import binascii
import errno
import fcntl
import json
import os
import select
import signal
import struct
import sys
import termios

PORT = "/dev/ttyS1"
TIOCSCTTY, TIOCSWINSZ = 0x540E, 0x5414


class Child:
    """One command: its process group and the pipes of its output."""

    def __init__(self, id, request):
        self.id, self.done = id, False
        self.streams = {}  # fd -> "out" or "err"
        self.terminal = None
        if request.get("pty"):
            self.start_on_pty(request)
        else:
            self.start_on_pipes(request)
        for fd in self.streams:
            os.set_blocking(fd, False)

    def start_on_pipes(self, request):
        stdin = os.open(request.get("stdin") or "/dev/null", os.O_RDONLY)
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.execute(request, stdin, out_w, err_w)
        for fd in stdin, out_w, err_w:
            os.close(fd)
        self.streams = {out_r: "out", err_r: "err"}

    def start_on_pty(self, request):
        master, slave = os.openpty()
        rows, columns = request["pty"]
        fcntl.ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.pid = os.fork()
        if self.pid == 0:
            self.execute(request, slave, slave, slave, terminal=True)
        os.close(slave)
        self.terminal = master
        self.streams = {master: "out"}

    @staticmethod
    def execute(request, *fds, terminal=False):
        try:
            signal.set_wakeup_fd(-1)
            for s in signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT:
                signal.signal(s, signal.SIG_DFL)
            os.setsid()
            for target, fd in enumerate(fds):
                os.dup2(fd, target)
            if terminal:
                fcntl.ioctl(0, TIOCSCTTY, 0)
            os.chdir(request.get("cwd") or "/")
            os.execvpe(request["run"][0], request["run"], request["env"])
        except OSError as e:
            os.write(2, f"{request['run'][0]}: {e.strerror}\n".encode())
        finally:
            os._exit(127)


class Server:
    def __init__(self):
        self.port = os.open(PORT, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        control = [0] * 32
        control[termios.VMIN] = 1
        termios.tcsetattr(self.port, termios.TCSANOW, [  # raw
            0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0, termios.B115200, termios.B115200, control])
        self.poll = select.poll()
        self.poll.register(self.port, select.POLLIN)
        self.by_id, self.by_fd = {}, {}
        self.buffer = b""
        self.wake, w = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(w, False)
        signal.set_wakeup_fd(w)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.poll.register(self.wake, select.POLLIN)

    def send(self, **message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.port, data):]

    def serve(self):
        with open("/proc/uptime") as f:
            self.send(hello=float(f.read().split()[0]))
        while True:
            for fd, _ in self.poll.poll():
                if fd == self.port:
                    self.receive()
                elif fd == self.wake:
                    os.read(self.wake, 4096)
                    self.reap()
                elif fd in self.by_fd:
                    self.drain(self.by_fd[fd], fd)

    def receive(self):
        *lines, self.buffer = (self.buffer + os.read(self.port, 65536)).split(b"\n")
        for line in lines:
            self.request(json.loads(line))

    def request(self, r):
        child = self.by_id.get(r["id"])
        if "run" in r:
            child = self.by_id[r["id"]] = Child(r["id"], r)
            for fd in child.streams:
                self.by_fd[fd] = child
                self.poll.register(fd, select.POLLIN)
        elif child is None:
            return  # it ended while the request was on its way
        elif "signal" in r:
            try:
                os.killpg(child.pid, r["signal"])
            except ProcessLookupError:
                pass
        elif child.terminal in child.streams:
            try:
                os.write(child.terminal, binascii.a2b_base64(r["in"]))
            except OSError:
                pass  # full, or nobody reads: a terminal forgets what was typed

    def drain(self, child, fd):
        """Passes on what is there; output that comes after the end of the command has nobody to go to."""
        while True:
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return
            except OSError as e:
                if e.errno != errno.EIO:  # a terminal nobody holds open
                    raise
                data = b""
            if not data:
                break
            if not child.done:
                self.send(id=child.id, **{child.streams[fd]: binascii.b2a_base64(data, newline=False).decode()})
        self.poll.unregister(fd)
        del self.by_fd[fd]
        os.close(fd)
        del child.streams[fd]

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in [c for c in self.by_id.values() if c.pid == pid]:
                for fd in list(child.streams):
                    self.drain(child, fd)
                child.done = True
                del self.by_id[child.id]
                self.send(id=child.id, rc=os.waitstatus_to_exitcode(status))


def power_off():
    os.sync()
    with open("/proc/sysrq-trigger", "w") as f:
        f.write("o")
    signal.pause()


try:
    Server().serve()
except BaseException as e:  # process 1 must not end: the kernel would panic and hide the reason
    sys.excepthook(type(e), e, e.__traceback__)
    sys.stderr.flush()
    power_off()
