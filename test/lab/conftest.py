# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the lab tier. A test that needs guests carries the marker `lab` and asks for one of

    guest       one node, shared by the tests of a module
    two_nodes   (node1, node2), linked port by port, shared by the tests of a module
    boot        boot(nodes=1, ...): fresh nodes of its own, with the options of lab.guest.Lab

A module's LAB has options of lab.guest.Lab for the first two.
The tests of a module run in file order on the same nodes and leave them as they found them, or power-cycle them.
"""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from lab import guest as lab_guest  # noqa: E402

running = []  # labs whose consoles are shown when a test fails


def pytest_configure(config):
    config.addinivalue_line("markers", "lab: needs QEMU guests with SR-IOV ports")


def pytest_collection_modifyitems(items):
    if not any(i.get_closest_marker("lab") for i in items):
        return
    why = lab_guest.missing()
    for i in items if why else ():
        if i.get_closest_marker("lab"):
            i.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed and item.get_closest_marker("lab"):
        for lab in running:
            for g in lab.guests:
                report.sections.append((f"{g.name}", g.console_tail()))


def start(name, **options):
    lab = lab_guest.Lab(name=name, **options).start()
    running.append(lab)
    return lab


def stop(lab):
    running.remove(lab)
    lab.stop()


def module_lab(request, nodes):
    lab = start(request.module.__name__, nodes=nodes, **getattr(request.module, "LAB", {}))
    yield lab.guests
    stop(lab)


@pytest.fixture(scope="module")
def guest(request):
    for guests in module_lab(request, 1):
        yield guests[0]


@pytest.fixture(scope="module")
def two_nodes(request):
    yield from module_lab(request, 2)


@pytest.fixture
def boot(request):
    labs = []

    def boot(**options):
        labs.append(start(request.node.name, **options))
        return labs[-1].guests

    yield boot
    for lab in labs:
        stop(lab)
