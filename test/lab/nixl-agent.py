# SPDX-License-Identifier: Apache-2.0
"""A NIXL agent in a pod of the lab, as vLLM's connector uses one: prefill registers blocks, decode READs them.

usage: nixl-agent.py prefill BLOCKS SIZE          prints one line of JSON, then waits for decode's notification
       nixl-agent.py decode BLOCKS SIZE <PREFILL  reads that line from stdin, READs all blocks, prints one line of JSON

Run by test_nixl.py, with the Python of .deps/nixl. Leaves without NIXL's destructors, which crash with a mixed rdma-core.
"""
import base64
import ctypes
import json
import os
import sys
import time

import numpy
from nixl._api import nixl_agent, nixl_agent_config


def say(**values):
    print(json.dumps(values), flush=True)


def pattern(blocks, size):
    """Every block differs from every other, and each 8-byte word within it."""
    return numpy.arange(blocks * size // 8, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)


def descriptors(memory, blocks, size):
    return [(memory.ctypes.data + i * size, size, 0) for i in range(blocks)]


def wait_until(condition, what, timeout=120):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"nixl-agent: no {what} within {timeout} s")
        time.sleep(0.005)


def prefill(blocks, size):
    memory = pattern(blocks, size)
    agent = nixl_agent("prefill", nixl_agent_config(backends=["UCX"]))
    agent.register_memory([(memory.ctypes.data, memory.nbytes, 0, "")], "DRAM")
    say(metadata=base64.b64encode(agent.get_agent_metadata()).decode(), address=memory.ctypes.data)
    notes = {}

    def notified():
        notes.update(agent.get_new_notifs())
        return "decode" in notes

    wait_until(notified, "notification")
    say(notified=[n.decode() for n in notes["decode"]])


def decode(blocks, size):
    peer = json.loads(sys.stdin.readline())
    memory = numpy.zeros(blocks * size // 8, dtype=numpy.uint64)
    agent = nixl_agent("decode", nixl_agent_config(backends=["UCX"]))
    agent.register_memory([(memory.ctypes.data, memory.nbytes, 0, "")], "DRAM")
    name = agent.add_remote_agent(base64.b64decode(peer["metadata"]))
    name = name.decode() if isinstance(name, bytes) else name
    local = agent.get_xfer_descs(descriptors(memory, blocks, size), "DRAM")
    # NIXL joins descriptors that follow each other on both sides: in reverse order none does
    remote = agent.get_xfer_descs([(peer["address"] + i * size, size, 0) for i in reversed(range(blocks))], "DRAM")
    handle = agent.initialize_xfer("READ", local, remote, name, b"done")
    start = time.monotonic()
    state = agent.transfer(handle)
    wait_until(lambda: state == "ERR" or agent.check_xfer_state(handle) != "PROC", "end of the transfer")
    seconds = time.monotonic() - start
    state = agent.check_xfer_state(handle)
    want = pattern(blocks, size).reshape(blocks, -1)[::-1]
    wrong = int((memory.reshape(blocks, -1) != want).any(axis=1).sum())
    say(state=state, backend=agent.query_xfer_backend(handle), wrong_blocks=wrong, bytes=memory.nbytes, seconds=seconds)


{"prefill": prefill, "decode": decode}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
ctypes.CDLL(None).fflush(None)  # UCX logs to stdout
os._exit(0)
