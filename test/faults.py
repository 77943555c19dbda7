# SPDX-License-Identifier: Apache-2.0
"""An API server that fails on demand, for tests of its clients.

    with FaultServer(Fake()) as server:                   # objects in memory, as simple as an API server can be
    with FaultServer(Upstream(url, ca, key)) as server:   # a proxy before a real one
        server.fault(Fault(status=429, headers={"Retry-After": "1"}, times=2), method="GET", path="/configmaps")
        ... kubeconfig of server.url ...
        server.requests                                   # what was asked: Request(method, path, headers, body, status)

A fault is taken by the first request that fits it, as often as it says, before those that were added later.
"""
import collections
import http.client
import http.server
import json
import pathlib
import random
import re
import ssl
import subprocess
import threading
import time
import urllib.parse

Request = collections.namedtuple("Request", "method path headers body status")


class Fault:
    """What happens instead of an answer, or to it:

    status, headers, body   this answer
    close                   the connection ends without an answer, before the server did anything
    lose                    the server does it, its answer is lost
    cut=N                   the answer's body breaks off after N bytes
    lines=N                 a watch breaks off after N lines
    send=[text, ...]        these lines instead of a watch; then it ends as it should
    slow=S                  S seconds before each piece of the body
    hang=S                  nothing for S seconds, then the connection ends
    """

    def __init__(self, times=1, **what):
        self.times, self.what = times, what

    def __getattr__(self, name):
        return self.what.get(name)


def status(code, reason, message, **more):
    return json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
                       "code": code, **more})


class Fake:
    """Objects in memory: get, list (limit, continue, labelSelector a=b), watch with bookmarks, create, update, merge patch, delete."""

    def __init__(self):
        self.changed = threading.Condition()
        self.objects, self.events, self.version, self.oldest = {}, [], 100, 100

    @staticmethod
    def _split(path):
        m = re.fullmatch(r"(/(?:api/[^/]+|apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([^/]+))(?:/([^/]+))?(/status)?", path)
        return m and (m.group(1), m.group(2), m.group(3), m.group(4))

    def _emit(self, kind, path, obj):
        self.events.append((self.version, path, {"type": kind, "object": json.loads(json.dumps(obj))}))
        self.changed.notify_all()

    def put(self, collection, name, obj):
        """Make or change an object from outside."""
        with self.changed:
            path = f"{collection}/{name}"
            self.version += 1
            old = self.objects.get(path)
            meta = obj.setdefault("metadata", {})
            meta.update(name=name, resourceVersion=str(self.version), uid=old["metadata"]["uid"] if old else f"uid-{self.version}")
            m = re.search("/namespaces/([^/]+)/", path)
            if m:
                meta["namespace"] = m.group(1)
            self.objects[path] = obj
            self._emit("MODIFIED" if old else "ADDED", path, obj)
            return obj

    def remove(self, path):
        with self.changed:
            self.version += 1
            obj = self.objects.pop(path)
            obj["metadata"]["resourceVersion"] = str(self.version)
            self._emit("DELETED", path, obj)

    def compact(self):
        """Forget what was: a watch from before is 410."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.events = []
            self.changed.notify_all()

    def _fits(self, obj, query):
        wanted = query.get("labelSelector", "")
        labels = obj["metadata"].get("labels", {})
        return all(labels.get(k) == v for k, v in (w.split("=") for w in wanted.split(",") if w))

    def _in(self, collection, path):
        parent = path.rsplit("/", 1)[0]
        return parent == collection or re.sub("/namespaces/[^/]+", "", parent) == collection

    def _list(self, collection, query):
        limit, after = int(query.get("limit", 0)), query.get("continue", "")
        if after.startswith("expired"):
            return 410, status(410, "Expired", "The provided continue parameter is too old")
        names = sorted(p for p, o in self.objects.items() if self._in(collection, p) and p > after and self._fits(o, query))
        more = limit and len(names) > limit
        names = names[:limit] if limit else names
        meta = {"resourceVersion": str(self.version), **({"continue": names[-1]} if more else {})}
        return 200, json.dumps({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": [self.objects[n] for n in names]})

    def _watch(self, collection, query):
        seen = int(query["resourceVersion"])
        end = time.time() + float(query.get("timeoutSeconds", 300))
        while time.time() < end:
            with self.changed:
                if seen < self.oldest:
                    yield json.dumps({"type": "ERROR", "object": json.loads(status(410, "Expired", "too old resource version"))}) + "\n"
                    return
                news = [e for v, p, e in self.events if v > seen and self._in(collection, p) and self._fits(e["object"], query)]
                newest = self.version
                if not news and newest == seen:
                    self.changed.wait(0.2)
                    continue
            for e in news:
                yield json.dumps(e) + "\n"
            seen = newest
            yield json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(seen)}}}) + "\n"

    def handle(self, method, target, headers, body):
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        parts = self._split(url.path)
        if url.path == "/version":
            return 200, {}, ['{"gitVersion":"v0.0.0-fake"}']
        if not parts:
            return 404, {}, ["404 page not found\n"]
        collection, _, plural, name = parts
        if query.get("watch"):
            return 200, {}, self._watch(collection, query)
        code, text = self._object(method, collection, plural, name, query, body)
        return code, {}, [text]

    def _object(self, method, collection, plural, name, query, body):
        path = f"{collection}/{name}"
        sent = json.loads(body) if body else None
        with self.changed:
            old = self.objects.get(path)
            if method == "GET" and not name:
                return self._list(collection, query)
            if method == "POST":
                name = sent["metadata"]["name"]
                if f"{collection}/{name}" in self.objects:
                    return 409, status(409, "AlreadyExists", f'{plural} "{name}" already exists', details={"name": name})
                return 201, json.dumps(self.put(collection, name, sent))
            if not old:
                return 404, status(404, "NotFound", f'{plural} "{name}" not found', details={"name": name})
            if method == "GET":
                return 200, json.dumps(old)
            if method == "DELETE":
                wanted = (sent or {}).get("preconditions", {}).get("uid")
                if wanted and wanted != old["metadata"]["uid"]:
                    return 409, status(409, "Conflict", "the UID in the precondition does not match")
                self.remove(path)
                return 200, status(200, "", "")
            version = sent.get("metadata", {}).get("resourceVersion")
            if version and version != old["metadata"]["resourceVersion"]:
                return 409, status(409, "Conflict", "the object has been modified")
            new = sent if method == "PUT" else {**old, **sent, "metadata": {**old["metadata"], **sent.get("metadata", {})}}
            return 200, json.dumps(self.put(collection, name, new))


class Upstream:
    """A real API server. Requests go on with their own Authorization header, or as @token."""

    def __init__(self, url, ca, token=None):
        u = urllib.parse.urlsplit(url)
        self.host, self.port, self.token = u.hostname, u.port, token
        self.context = ssl.create_default_context(cafile=ca)

    def handle(self, method, target, headers, body):
        c = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=600)
        headers = {k: v for k, v in headers.items() if k.lower() in ("authorization", "content-type", "accept")}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        c.request(method, target, body=body, headers=headers)
        r = c.getresponse()

        def pieces():
            while True:
                data = r.read1(65536)
                if not data:
                    return
                yield data

        return r.status, {k: v for k, v in r.getheaders() if k.lower() == "retry-after"}, pieces()


class _Cut(Exception):
    pass


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _serve(self):
        server = self.server.owner
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        fault = server.take(self.command, self.path)
        self.code = 0
        try:
            self._answer(server, fault, body)
        except (_Cut, OSError):
            self.close_connection = True
        finally:
            server.requests.append(Request(self.command, self.path, dict(self.headers), body.decode(), self.code))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _answer(self, server, fault, body):
        if fault and fault.hang:
            server.ended.wait(fault.hang)
            raise _Cut
        if fault and fault.close:
            raise _Cut
        if fault and fault.status:
            text = fault.body or status(fault.status, "Test", "this is a test")
            return self._send(fault.status, fault.headers or {}, [text], fault)
        if fault and fault.send is not None:
            return self._send(200, {}, [line + "\n" for line in fault.send], fault)
        code, headers, pieces = server.backend.handle(self.command, self.path, self.headers, body or None)
        if fault and fault.lose:
            for _ in pieces:
                pass
            raise _Cut
        self._send(code, headers, pieces, fault)

    def _send(self, code, headers, pieces, fault):
        self.code = code
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        for k, v in headers.items():
            self.send_header(k, v)
        self.end_headers()
        left = fault.cut if fault and fault.cut is not None else None
        lines = fault.lines if fault and fault.lines is not None else None
        for p in pieces:
            p = p.encode() if isinstance(p, str) else p
            if fault and fault.slow:
                self.server.owner.ended.wait(fault.slow)
            if left is not None:
                p, left = p[:left], left - len(p)
            if lines is not None and p.count(b"\n") > lines:
                p, left = b"".join(line + b"\n" for line in p.split(b"\n")[:lines]), 0
            if p:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(p), p))
                self.wfile.flush()
            if lines is not None:
                lines -= p.count(b"\n")
            if (left is not None and left <= 0) or (lines is not None and lines <= 0) or self.server.owner.ended.is_set():
                raise _Cut
        if left is not None:
            raise _Cut
        self.wfile.write(b"0\r\n\r\n")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


class FaultServer:
    def __init__(self, backend, tls=None):
        """@tls: (certificate file, key file)."""
        self.backend, self.requests, self.faults, self.lock = backend, [], [], threading.Lock()
        self.ended, self.share = threading.Event(), 0
        self.http = _Server(("127.0.0.1", 0), _Handler)
        self.http.owner = self
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def fault(self, fault, method="", path=""):
        """@path: a regular expression, looked for in the path and its query."""
        with self.lock:
            self.faults.append((fault, method, path))
        return fault

    def fault_at_random(self, share, seed, kinds):
        """From now on that share of the requests gets one of @kinds (each the arguments of a Fault)."""
        self.chance, self.share, self.kinds = random.Random(seed), share, kinds

    def take(self, method, target):
        with self.lock:
            if self.share and self.chance.random() < self.share:
                kind = self.chance.choice(self.kinds)
                if method != "GET" or kind.get("status") != 409:  # no read has a conflict
                    return Fault(**kind)
            for fault, wanted, path in self.faults:
                if fault.times and (not wanted or wanted == method) and re.search(path, target):
                    fault.times -= 1
                    return fault
        return None

    def asked(self, method="", path=""):
        return [r for r in list(self.requests) if (not method or r.method == method) and re.search(path, r.path)]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.http.shutdown()
        self.http.server_close()


def kubeconfig(folder, url, name="kubeconfig", cluster=None, user=None, namespace="default"):
    """A kubeconfig of one context, "test"."""
    path = pathlib.Path(folder) / name
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": url, **(cluster or {})}}], "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": namespace}}]}))
    return path


def make_ca(folder, name="ca"):
    folder = pathlib.Path(folder)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / f"{name}.key",
                    "-out", folder / f"{name}.crt", "-subj", f"/CN=test {name}", "-days", "2"], check=True, capture_output=True)
    return folder / f"{name}.crt"


def make_cert(folder, ca, subject, names):
    """(certificate, key) that the CA signed, for @names ("IP:127.0.0.1", "DNS:a")."""
    folder, key, crt = pathlib.Path(folder), pathlib.Path(folder) / f"{subject}.key", pathlib.Path(folder) / f"{subject}.crt"
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", folder / "csr",
                    "-subj", f"/CN={subject}"], check=True, capture_output=True)
    (folder / "ext").write_text("subjectAltName=" + ",".join(names) + "\n")
    subprocess.run(["openssl", "x509", "-req", "-in", folder / "csr", "-CA", ca, "-CAkey", str(ca)[:-3] + "key", "-CAcreateserial", "-out", crt,
                    "-days", "2", "-extfile", folder / "ext"], check=True, capture_output=True)
    return crt, key
