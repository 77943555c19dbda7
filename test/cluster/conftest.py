# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the cluster tier. Every test of it carries the marker `cluster` (the whole folder does by itself) and asks for

    control_plane   etcd and a real API server on loopback, kvrail's CRDs installed; shared by all tests of the run
    namespace       a namespace of its own in it, deleted afterwards
    boot_plane      boot_plane(...): a control plane of its own, with the options of control.ControlPlane
    cluster         the whole cluster: control plane with scheduler, two nodes that are Ready; shared by all tests of the run

Only `cluster` boots guests. What a test needs and this machine lacks makes it skip, with the reason.
"""
import pathlib
import re
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]
import control  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "cluster: needs a Kubernetes control plane (make deps-cluster)")


def pytest_collection_modifyitems(items):
    ours = [i for i in items if HERE in i.path.parents]
    why = control.missing() if ours else None
    for i in ours:
        i.add_marker("cluster")
        if why:
            i.add_marker(pytest.mark.skip(reason=why))


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
