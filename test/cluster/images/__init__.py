# SPDX-License-Identifier: Apache-2.0
"""The images that pods of the tests ask for, made of this machine's own files and served under the names in KServe's manifests.

    pause                registry.k8s.io/pause:3.10
    vLLM's stand-in      ghcr.io/llm-d/llm-d-cuda:v0.9.0: bash, Python, kvrail-kv, NIXL (when .deps/nixl is there), `vllm`
    its sidecar          ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0
    storage initializer  docker.io/kserve/storage-initializer:latest
    a plain shell        docker.io/library/busybox:latest
"""
import os
import pathlib
import re
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).resolve().parent
NIXL = TREE / ".deps/nixl"
PAUSE = "registry.k8s.io/pause:3.10"
ENGINE = "ghcr.io/llm-d/llm-d-cuda:v0.9.0"
SIDECAR = "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0"
INITIALIZER = "docker.io/kserve/storage-initializer:latest"
BUSYBOX = "docker.io/library/busybox:latest"
LARGE = "kvrail.test/layers:1"  # no pod's: the layers that take long to unpack, and that change with this machine only
APPLETS = """sh ls cat grep sleep basename awk sort tail head ip ping wget env id sed mkdir rm ps printf true false dirname
	uname hostname tr cut wc find readlink test tee touch nc""".split()
USER = "2000:2000"  # a number: runAsNonRoot wants to see that it is not 0
SKIP = {"test", "idlelib", "lib2to3", "ensurepip", "turtledemo", "pydoc_data", "tkinter", "distutils", "dist-packages", "venv",
        "unittest", "curses", "dbm", "sqlite3", "wsgiref", "xmlrpc"}


def build(name="kvrail-kv"):
    return TREE / os.environ.get("KVRAIL_BUILD", "build") / name


def shell(layer):
    layer.file("/bin/busybox")
    for a in APPLETS:
        layer.link(f"/bin/{a}", "/bin/busybox")
    layer.folder("/tmp", 0o1777)
    layer.text("/etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:2000:2000::/home:/bin/sh\n")
    layer.text("/etc/group", "root:x:0:\nuser:x:2000:\n")
    return layer


def python(layer):
    version = f"python3.{sys.version_info.minor}"
    layer.program(f"/usr/bin/{version}")
    layer.link("/usr/bin/python3", version)
    layer.tree(f"/usr/lib/{version}", skip=SKIP | {d for d in os.listdir(f"/usr/lib/{version}") if d.startswith("config-")})
    layer.program("/bin/bash")


def rdma(layer):
    """libibverbs with the provider of soft RoCE, and what uses it."""
    layer.program("/usr/bin/kvrail-kv", str(build()))
    libs = "/usr/lib/x86_64-linux-gnu"
    for f in pathlib.Path(f"{libs}/libibverbs").glob("librxe-*.so"):
        layer.program(str(f))
    layer.file("/etc/libibverbs.d/rxe.driver")


def needed(site):
    """The files of NIXL's wheel that moving host memory with UCX takes: a third of it. The rest is for GPUs and for other back ends."""
    libs = site / "nixl_cu12.libs"
    roots = [*site.glob("nixl_cu12/*.so"), site / ".nixl_cu12.mesonpy.libs/plugins/libplugin_UCX.so",
             *(f for f in libs.glob("ucx/libuct_*.so*") if not re.search("cuda|gda|gdp", f.name))]
    files = {f for name in ("nixl", "nixl_cu12") for f in (site / name).rglob("*") if f.is_file()}
    for f in roots:
        words = subprocess.run(["ldd", f], capture_output=True, text=True).stdout.split()
        files |= {f, *(pathlib.Path(os.path.normpath(w)) for w in words if w.startswith(str(site)))}
    return sorted([*files, *site.glob("nixl*.py"), *site.glob("nixl*.dist-info/*"), *site.glob("numpy*.dist-info/*")])


def nixl(layer):
    """The wheel from PyPI. Its own libibverbs has no provider for soft RoCE: the system's takes its place, under its name."""
    site = next(NIXL.resolve().glob("lib/python3*/site-packages"))
    for f in needed(site):
        if f.is_file():
            layer.file(f"/opt/nixl/{f.relative_to(site)}", str(f))
    for name in "numpy", "numpy.libs":
        layer.tree(f"/opt/nixl/{name}", site / name, skip={"tests", "f2py", "random", "typing"})
    for f in "nixl_cu12/_bindings*.so", ".nixl_cu12.mesonpy.libs/plugins/libplugin_UCX.so":
        layer.libraries(next(site.glob(f)))
    for short in "libibverbs", "libmlx5":
        system = f"/usr/lib/x86_64-linux-gnu/{short}.so.1"
        layer.program(system)
        layer.link(f"/opt/nixl-libs/{next((site / 'nixl_cu12.libs').glob(short + '-*.so*')).name}", system)


def make(registry):
    """Serves all of them."""
    pause = registry.dir / "pause"
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", pause, HERE / "pause.c"], check=True)
    layer = registry.layer()
    layer.file("/pause", str(pause))
    registry.image(PAUSE, [layer], entrypoint=["/pause"])

    base = shell(registry.layer())
    registry.image(BUSYBOX, [base], entrypoint=["/bin/sh"])
    interpreter = registry.layer()
    python(interpreter)
    own = registry.layer()
    own.file("/opt/stand-in/engine.py", str(HERE / "engine.py"))
    own.text("/app/pd-sidecar", '#!/bin/sh\nexec python3 /opt/stand-in/engine.py sidecar "$@"\n', 0o755)
    registry.image(SIDECAR, [base, interpreter, own], user=USER)

    wheel = registry.layer()
    if (NIXL / "ready").exists():
        nixl(wheel)
    registry.image(LARGE, [base, interpreter, wheel])
    engine = registry.layer()
    rdma(engine)
    engine.file("/opt/stand-in/engine.py", str(HERE / "engine.py"))
    engine.file("/opt/stand-in/nixl-agent.py", str(TREE / "test/lab/nixl-agent.py"))
    engine.file("/usr/local/bin/vllm", str(HERE / "vllm"))
    registry.image(ENGINE, [base, interpreter, wheel, engine], user=USER)

    initializer = registry.layer()
    initializer.file("/opt/stand-in/initializer", str(HERE / "initializer"))
    registry.image(INITIALIZER, [base, initializer], entrypoint=["/opt/stand-in/initializer"], user=USER)
