# SPDX-License-Identifier: Apache-2.0
"""The client of the API server by itself: build-asan/test/system/kube_driver, run to its end or held."""
import json
import os
import pathlib
import queue
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = "test/system/kube_driver"
BUILD = os.environ.get("KVRAIL_BUILD") or ("build-asan" if (ROOT / "build-asan" / PROGRAM).exists() else "build")
DRIVER = ROOT / BUILD / PROGRAM


def environment(config, **more):
    return {**{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}, "KUBECONFIG": str(config), **more}


class Result:
    def __init__(self, r):
        self.text, self.counts, self.rc = r.stdout.strip(), r.stderr, r.returncode
        self.error = self.text.split(":")[0] if r.returncode else None

    @property
    def json(self):
        assert self.rc == 0, self.text
        return json.loads(self.text)


def run(config, *arguments, timeout_ms=None, environ=None, limit=60):
    env = environment(config, **(environ or {}))
    if timeout_ms:
        env["KVRAIL_TEST_TIMEOUT"] = str(timeout_ms)
    r = subprocess.run([DRIVER, *arguments], env=env, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    assert r.returncode in (0, 1), (r.returncode, r.stdout, r.stderr)
    return Result(r)


class Held:
    """A driver that runs until it is ended: next() is its next line, say() writes to it."""

    def __init__(self, config, *arguments, environ=None):
        self.process = subprocess.Popen([DRIVER, *arguments], env=environment(config, **(environ or {})), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def next(self, timeout=20):
        try:
            return self.lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no line within {timeout} s") from None

    def expect(self, *wanted, timeout=20):
        for w in wanted:
            line = self.next(timeout)
            assert line == w, f"'{line}', not '{w}'"

    def until(self, wanted, timeout=20):
        """The lines up to one that begins with @wanted."""
        end, seen = time.time() + timeout, []
        while time.time() < end:
            seen.append(self.next(max(0.1, end - time.time())))
            if seen[-1].startswith(wanted):
                return seen
        raise AssertionError(f"no '{wanted}' in {seen}")

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def all(self):
        """What an informer keeps: {"ns/name": kept}."""
        self.say("all")
        lines = []
        while True:
            line = self.next()
            if line == ".":
                return {line.split(" ", 2)[0]: json.loads(line.split(" ", 2)[2]) for line in lines}
            if line.split(" ")[0] not in ("ADDED", "CHANGED", "DELETED", "SYNCED"):
                lines.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.stdin.close()
        self.rc = self.process.wait(timeout=20)
        self.stderr = self.process.stderr.read()
        assert self.rc == 0, self.stderr
