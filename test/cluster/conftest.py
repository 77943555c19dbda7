# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the cluster tier. Every test of it carries the marker `cluster` (the whole folder does by itself) and asks for

    control_plane   etcd and a real API server on loopback, kvrail's CRDs installed; shared by all tests of the run
    namespace       a namespace of its own in it, deleted afterwards
    boot_plane      boot_plane(...): a control plane of its own, with the options of control.ControlPlane
    cluster         the whole cluster: control plane with scheduler, two nodes that are Ready; shared by all tests of the run
    kvrail          kvrail running on it, and KServe's networks provisioned

Only `cluster` boots guests. What a test needs and this machine lacks makes it skip, with the reason.
"""
import os
import pathlib
import re
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]
import control  # noqa: E402
import nodes  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "cluster: needs a Kubernetes control plane (make deps-cluster)")
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))  # what was started is stopped, temporary files go


def pytest_collection_modifyitems(items):
    ours = [i for i in items if HERE in i.path.parents]
    whys = [control.missing(), nodes.missing()] if ours else []
    for i in ours:
        i.add_marker("cluster")
        why = whys[1 if {"cluster", "boot_cluster"} & set(i.fixturenames) else 0]
        if why:
            i.add_marker(pytest.mark.skip(reason=why))
    # first what needs no guest, then modules with a cluster of their own, then the shared one, in the end with kvrail on it: at most one has guests
    ours.sort(key=lambda i: "cluster" in i.fixturenames and (1 if hasattr(i.module, "cluster") else 3 if "kvrail" in i.fixturenames else 2))
    items[:] = [i for i in items if HERE not in i.path.parents] + ours


running = []  # clusters whose state is shown when a test fails


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed and "cluster" in item.fixturenames:
        for c in running:
            report.sections.append(("pods", c.plane.kubectl("get", "pods", "-A", "-o", "wide", check=False).stdout))
            report.sections.append(("events", c.plane.kubectl("get", "events", "-A", check=False).stdout[-6000:]))
            c.keep_logs()


@pytest.fixture(scope="session")
def cluster():
    with nodes.Cluster(name="cluster") as c:
        c.plane.install_crds()
        running.append(c)
        yield c
        running.remove(c)


@pytest.fixture(scope="session")
def kvrail(cluster):
    """kvrail on the cluster, with KServe's networks applied and their VFs offered; kvrail.before is what nodes look like without pods."""
    from kvrail import Kvrail
    k = Kvrail(cluster).start()
    k.apply_networks()
    k.before = {n.name: k.found(n) for n in cluster.nodes}
    return k


@pytest.fixture(scope="session")
def control_plane():
    with control.ControlPlane(name="plane") as plane:
        plane.install_crds()
        yield plane


@pytest.fixture
def namespace(request, control_plane):
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")
    yield control_plane.namespace(name)
    control_plane.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def boot_plane(request):
    planes = []

    def boot(**options):
        planes.append(control.ControlPlane(**{"name": request.node.name[:40], **options}).start())
        return planes[-1]

    yield boot
    for plane in planes:
        plane.stop()
