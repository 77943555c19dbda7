# SPDX-License-Identifier: Apache-2.0
"""tools/image: the archive is a valid image layout, holds what the programs need and nothing else, and comes out the same twice."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
pytestmark = pytest.mark.skipif(not (BUILD / "kvrail-cni").exists(), reason="no release build under build/: run 'make build'")
PROGRAMS = {"usr/local/bin/kvrail", "usr/local/bin/kvrail-kv", "usr/local/bin/kvrail-cni"}


def make(out, **environment):
    r = subprocess.run([ROOT / "tools/image", "--build", BUILD, out], capture_output=True, text=True,
                       env={"PATH": "/usr/bin:/bin", **environment})
    assert r.returncode == 0, r.stderr
    return r.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "a.tar"
    path.with_suffix(".said").write_text(make(path))
    return path


def blobs(archive):
    with tarfile.open(archive) as t:
        return {m.name: t.extractfile(m).read() for m in t if m.isfile()}


@pytest.fixture(scope="module")
def image(archive):
    """(index, manifest, config, layer) with every digest and size checked on the way."""
    files = blobs(archive)

    def follow(descriptor):
        data = files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
        assert len(data) == descriptor["size"] and hashlib.sha256(data).hexdigest() == descriptor["digest"][7:]
        return data

    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    (entry,) = index["manifests"]
    manifest = json.loads(follow(entry))
    config = json.loads(follow(manifest["config"]))
    (packed,) = manifest["layers"]
    layer = gzip.decompress(follow(packed))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    assert len(files) == 2 + 3  # and nothing that no descriptor names
    return index, manifest, config, tarfile.open(fileobj=io.BytesIO(layer))


@pytest.fixture(scope="module")
def root(image, tmp_path_factory):
    path = tmp_path_factory.mktemp("root")
    image[3].extractall(path)
    return path


def headers(path):
    text = subprocess.run(["readelf", "-ld", path], capture_output=True, text=True, check=True).stdout
    loader = re.search(r"interpreter: ([^]]+)\]", text)
    return loader and loader.group(1), set(re.findall(r"NEEDED\).*\[([^]]+)\]", text))


def test_name_and_settings(image, archive):
    index, _, config, _ = image
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
    annotations = index["manifests"][0]["annotations"]
    assert annotations["io.containerd.image.name"] == annotations["org.opencontainers.image.ref.name"] == f"localhost/kvrail:{version}"
    assert config["config"]["Entrypoint"] == ["/usr/local/bin/kvrail"] and config["os"] == "linux"
    said = archive.with_suffix(".said").read_text()
    assert f"localhost/kvrail:{version}, " in said and index["manifests"][0]["digest"] in said and " MiB" in said


def test_every_library_is_there_and_each_is_needed(root):
    """What ELF headers ask for is what the image has: no library is missing, none is there for nothing."""
    elfs = [p for p in root.rglob("*") if p.is_file() and not p.is_symlink() and p.read_bytes()[:4] == b"\x7fELF"]
    wanted = set()
    for p in elfs:
        loader, needs = headers(p)
        wanted |= needs
        if loader:
            assert (root / loader.lstrip("/")).is_file()
            wanted.add(os.path.basename(loader))
    providers = {p.name for p in elfs if p.parent.name == "libibverbs"}
    named = {d.read_text().split()[1] for d in (root / "etc/libibverbs.d").iterdir()}
    assert {re.match(r"lib(\w+)-rdmav", p).group(1) for p in providers} == named and {"mlx5", "rxe"} <= named
    there = {p.name for p in elfs} - providers - {os.path.basename(p) for p in PROGRAMS}
    assert there == wanted


def test_programs_do_not_tell_where_they_were_built(root):
    for p in PROGRAMS:
        sections = subprocess.run(["readelf", "-SW", root / p], capture_output=True, text=True, check=True).stdout
        assert not re.search(r"\.(symtab|debug_\w+|note\.gnu\.build-id)\b", sections), p
        assert str(ROOT).encode() not in (root / p).read_bytes()


def test_nothing_else_is_in_it(image):
    files = {m.name for m in image[3] if not m.isdir()}
    rest = {f for f in files if not re.fullmatch(r"(usr/lib(64)?/.*\.so(\.\d+)*|etc/libibverbs\.d/\w+\.driver)", f)}
    assert rest == PROGRAMS | {"etc/passwd", "etc/group", "etc/nsswitch.conf", "lib", "lib64", "var/run"}
    for m in image[3]:
        assert (m.uid, m.gid) == (0, 0)
        assert m.issym() or not m.mode & 0o7022, m.name


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_programs_run_in_it(root, program):
    r = subprocess.run(["/usr/sbin/chroot", root, f"/{program}", "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, env={})
    assert "kvrail" in r.stdout + r.stderr and "error while loading" not in r.stderr, r.stderr


def test_the_same_build_gives_the_same_bytes(archive, tmp_path):
    old = os.umask(0o077)
    try:
        make(tmp_path / "b.tar", TZ="Asia/Tokyo", LANG="de_DE.UTF-8", HOME="/nowhere")
    finally:
        os.umask(old)
    assert (tmp_path / "b.tar").read_bytes() == archive.read_bytes()


def test_source_date_epoch_is_honoured(tmp_path):
    make(tmp_path / "c.tar", SOURCE_DATE_EPOCH="1000000000")
    with tarfile.open(tmp_path / "c.tar") as t:
        assert {m.mtime for m in t} == {1000000000}
    (config,) = [json.loads(b) for b in blobs(tmp_path / "c.tar").values() if b.startswith(b'{"architecture"')]
    assert config["created"] == "2001-09-09T01:46:40Z"


def test_a_build_with_sanitizers_is_refused(tmp_path):
    for name in ("kvrail", "kvrail-kv", "kvrail-cni"):
        (tmp_path / name).write_bytes((BUILD / "kvrail").read_bytes())  # dynamic, as kvrail-cni is with sanitizers
    r = subprocess.run([ROOT / "tools/image", "--build", tmp_path, tmp_path / "x.tar"], capture_output=True, text=True)
    assert r.returncode == 1 and "kvrail-cni is not static" in r.stderr and not (tmp_path / "x.tar").exists()
