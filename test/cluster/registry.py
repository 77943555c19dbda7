# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback that serves images made here, under the very names that manifests use.

Nodes are told to ask it for every registry (a mirror, in containerd's hosts.toml), so pull policies work as they are written.
Layers are plain tar: unpacking costs an emulated CPU enough. Serves the pull half of the OCI distribution specification.
"""
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import threading
import urllib.parse

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layer:
    """A tar under construction. Files keep their times, so that Python's compiled modules stay valid."""

    def __init__(self, folder):
        self.path = pathlib.Path(tempfile.mkstemp(dir=folder, prefix="layer-")[1])
        self.tar = tarfile.open(self.path, "w", format=tarfile.GNU_FORMAT)
        self.have = set()
        for d in "bin", "sbin", "lib", "lib64":  # as on Debian
            self.link(d, f"usr/{d}")

    def _new(self, path):
        path = os.path.normpath(str(path).lstrip("/"))
        for d in "bin", "sbin", "lib", "lib64":
            if path.startswith(d + "/"):
                path = f"usr/{path}"
        if path in self.have:
            return None
        parent = os.path.dirname(path)
        if parent:
            self.folder(parent)
        self.have.add(path)
        return path

    def _info(self, path, mode, type=tarfile.REGTYPE):
        info = tarfile.TarInfo(path)
        info.mode, info.type = mode, type
        return info

    def folder(self, path, mode=0o755):
        if path := self._new(path):
            self.tar.addfile(self._info(path, mode, tarfile.DIRTYPE))

    def link(self, path, target):
        if path := self._new(path):
            info = self._info(path, 0o777, tarfile.SYMTYPE)
            info.linkname = str(target)
            self.tar.addfile(info)

    def text(self, path, text, mode=0o644):
        import io
        if path := self._new(path):
            info = self._info(path, mode)
            info.size = len(text.encode())
            self.tar.addfile(info, io.BytesIO(text.encode()))

    def file(self, path, source=None):
        """A file of this machine at the same path, or @source at @path; links are followed."""
        source = os.path.realpath(source or path)
        if path := self._new(path):
            s = os.stat(source)
            info = self._info(path, s.st_mode & 0o777)
            info.size, info.mtime = s.st_size, int(s.st_mtime)
            with open(source, "rb") as f:
                self.tar.addfile(info, f)

    def program(self, path, source=None):
        """A program or shared object with all of the system's libraries that it is linked to."""
        self.file(path, source)
        self.libraries(source or path)

    def libraries(self, source):
        for word in subprocess.run(["ldd", str(source)], capture_output=True, text=True).stdout.split():
            if word.startswith(("/lib", "/usr/lib")):
                self.file(word)

    def tree(self, path, source=None, skip=()):
        """A folder with all in it, shared objects with their libraries; @skip: names of folders and files to leave out."""
        source = pathlib.Path(source or path)
        for root, dirs, files in os.walk(source):
            dirs[:] = sorted(d for d in dirs if d not in skip)
            for name in sorted(f for f in files if f not in skip):
                f = pathlib.Path(root) / name
                to = f"{path}/{f.relative_to(source)}"
                (self.program if ".so" in name else self.file)(to, str(f))


class Registry:
    """Context manager; port is where it listens. Images: layer(), then image()."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kvrail-registry-"))
        self.blobs, self.tags = {}, {}  # digest -> (path, media type); "registry/name:tag" -> digest
        self.pulled = []  # names that were asked for, in order

    def start(self):
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self, body=True):
                registry._answer(self, body)

            def do_HEAD(self):
                self.do_GET(body=False)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _answer(self, request, body):
        url = urllib.parse.urlsplit(request.path)
        ns = urllib.parse.parse_qs(url.query).get("ns", ["docker.io"])[0]
        name, _, rest = url.path.removeprefix("/v2/").rpartition("/")
        name, _, kind = name.rpartition("/")
        digest = rest
        if kind == "manifests" and not rest.startswith("sha256:"):
            self.pulled.append(f"{ns}/{name}:{rest}")
            digest = self.tags.get(f"{ns}/{name}:{rest}")
        path, media = self.blobs.get(digest, (None, None))
        if url.path == "/v2/":
            request.send_response(200)
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif path is None:
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            request.send_response(200)
            request.send_header("Content-Type", media)
            request.send_header("Content-Length", str(path.stat().st_size))
            request.send_header("Docker-Content-Digest", digest)
            request.end_headers()
            if body:
                with open(path, "rb") as f:
                    request.wfile.flush()
                    request.connection.sendfile(f)

    def _blob(self, path, media):
        h = hashlib.sha256()
        with open(path, "rb") as f:
            while data := f.read(1 << 20):
                h.update(data)
        digest = "sha256:" + h.hexdigest()
        kept = self.dir / digest[7:]
        path.rename(kept)
        self.blobs[digest] = kept, media
        return {"mediaType": media, "digest": digest, "size": kept.stat().st_size}

    def _json(self, value, media):
        path = self.dir / "json"
        path.write_text(json.dumps(value))
        return self._blob(path, media)

    def layer(self):
        return Layer(self.dir)

    def image(self, name, layers, entrypoint=None, environment=None, user=None):
        """Serves an image as @name, which is written out in full: registry/path:tag. @layers: of layer(), used up by the first
        image that they are in, and then shared."""
        for layer in layers:
            if not hasattr(layer, "descriptor"):
                layer.tar.close()
                layer.descriptor = self._blob(layer.path, LAYER)
        descriptors = [layer.descriptor for layer in layers]
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [d["digest"] for d in descriptors]},
                  "config": {"Entrypoint": entrypoint, "User": user or "", "Env": [f"{k}={v}" for k, v in {
                      "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **(environment or {})}.items()]}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self._json(config, CONFIG), "layers": descriptors}
        self.tags[name] = self._json(manifest, MANIFEST)["digest"]

    def archive(self, path, names=()):
        """Serves the images of an OCI archive (a tar with index.json) under their own names (the annotation
        org.opencontainers.image.ref.name or io.containerd.image.name), and under @names."""
        folder = self.dir / f"archive-{len(self.blobs)}"
        folder.mkdir()
        with tarfile.open(path) as tar:
            tar.extractall(folder)
        for d in json.loads((folder / "index.json").read_text())["manifests"]:
            for blob in (folder / "blobs/sha256").iterdir():
                self.blobs["sha256:" + blob.name] = blob, LAYER
            self.blobs[d["digest"]] = folder / "blobs/sha256" / d["digest"][7:], d["mediaType"]
            notes = d.get("annotations", {})
            for name in [*names, notes.get("io.containerd.image.name"), notes.get("org.opencontainers.image.ref.name")]:
                if name and "/" in name:
                    self.tags[name] = d["digest"]
