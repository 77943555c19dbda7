# SPDX-License-Identifier: Apache-2.0
"""kvrail env and completion, against an agent that answers with a status of our making."""
import http.server
import json
import os
import pathlib
import re
import shutil
import socketserver
import subprocess
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan")


def rail(ifname, rdma, address, gid, network="llm-test/roce-p2", **more):
    return {"network": network, "ifname": ifname, "resource": "p2rdma", "vf": "0000:01:10.0", "mac": "02:00:00:00:00:01", "mtu": 9000,
            "addresses": [address], "rdma": rdma, "soft": False, "port": 1, "gid": {"index": gid, "type": "RoCE v2"}, "activeMtu": 4096,
            "driver": "mlx5_core", **more}


def attachment(ns, name, *rails, netns="/run/netns/none"):
    return {"pod": {"namespace": ns, "name": name, "uid": ""}, "container": f"c-{ns}-{name}", "netns": netns, "state": "ready",
            "rails": list(rails)}


class Agent:
    """Answers GET /kvrail/status and nothing else."""

    def __init__(self, path, attachments):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                good = self.path == "/kvrail/status"
                body = json.dumps({"node": "n1", "agent": {"version": "1"}, "attachments": attachments} if good else {"error": "unknown"}).encode()
                self.send_response(200 if good else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self):
                return "unix"

            def log_message(self, *args):
                pass

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self.server.daemon_threads = True
        self.env = {**os.environ, "KVRAIL_SOCKET": str(path), "NO_COLOR": "1"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def kvrail(self, *args):
        return subprocess.run([str(BUILD / "kvrail"), *args], env=self.env, capture_output=True, text=True, timeout=60)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def agent(tmp_path):
    agents = []

    def start(*attachments):
        agents.append(Agent(tmp_path / "agent.sock", list(attachments)))
        return agents[-1]

    yield start
    for a in agents:
        a.stop()


TWO = (rail("net1", "mlx5_2", "10.0.132.1/24", 3), rail("net2", "mlx5_3", "10.0.132.2/24", 5, network="llm-test/roce-p13"))


def test_env_lists_each_value_with_its_reason(agent):
    r = agent(attachment("llm-test", "prefill-0", *TWO)).kvrail("env", "prefill-0", "-o", "json")
    assert r.returncode == 0, r.stderr
    value = json.loads(r.stdout)
    variables = {v["name"]: v for v in value["environment"]}
    assert value["pod"] == "llm-test/prefill-0"
    assert variables["UCX_NET_DEVICES"]["value"] == "mlx5_2:1,mlx5_3:1"
    assert variables["UCX_IB_GID_INDEX"]["value"] is None  # differ: 3 and 5
    assert "mlx5_2 has 3, mlx5_3 has 5" in variables["UCX_IB_GID_INDEX"]["why"]
    assert all(v["why"] for v in variables.values())


def test_env_for_a_shell_can_be_sourced(agent):
    a = agent(attachment("llm-test", "prefill-0", TWO[0]))
    script = a.kvrail("env", "prefill-0", "--format", "sh").stdout + '\necho "$UCX_NET_DEVICES|$NCCL_IB_HCA|${UCX_IB_GID_INDEX-unset}"'
    r = subprocess.run(["sh", "-eu", "-c", script], env={**os.environ, "UCX_IB_GID_INDEX": "3"}, capture_output=True, text=True)
    assert r.stdout.strip() == "mlx5_2:1|=mlx5_2:1|unset", r.stderr


def test_env_for_docker_has_only_assignments_and_comments(agent):
    r = agent(attachment("llm-test", "prefill-0", TWO[0])).kvrail("env", "prefill-0", "--format=docker", "--gpu")
    lines = [line for line in r.stdout.splitlines() if not line.startswith("#")]
    assert "UCX_TLS=rc,sm,self,cuda_copy,cuda_ipc" in lines
    assert all("=" in line and "'" not in line and not line.startswith("export") for line in lines)


def test_env_of_a_pod_with_two_attachments_has_all_rails(agent):
    r = agent(attachment("a", "p", TWO[0]), attachment("a", "p", TWO[1])).kvrail("env", "a/p", "-o", "json")
    assert "mlx5_2:1,mlx5_3:1" in r.stdout


def test_side_channels_use_the_pods_address_on_its_default_network(agent):
    a = {**attachment("llm-test", "prefill-0", rail("net1", "mlx5_3", "10.0.132.1/24", 3)),
         "delegates": [{"network": "cbr0", "ifname": "eth0", "master": True, "addresses": ["10.244.0.7/24"]}]}
    plain = {**attachment("kube-system", "coredns"), "delegates": a["delegates"]}
    start = agent(plain, a)
    env = {v["name"]: v["value"] for v in json.loads(start.kvrail("env", "prefill-0", "-o", "json").stdout)["environment"]}
    assert env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "10.244.0.7"
    env = {v["name"]: v["value"] for v in json.loads(start.kvrail("env", "prefill-0", "--pod-ip", "10.9.9.9", "-o", "json").stdout)["environment"]}
    assert env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "10.9.9.9"
    r = start.kvrail("env", "coredns")
    assert r.returncode == 1 and "no pod coredns with rails on this node; there are: llm-test/prefill-0" in r.stderr


VFIO = {"network": "llm-test/dpdk", "ifname": "net2", "resource": "dpdk", "vf": "0000:01:10.2", "mac": "02:00:00:00:00:02", "mtu": 9000,
        "addresses": ["10.0.132.2/24"], "driver": "vfio-pci"}
LEFT_OUT = "net2 is left out: VF 0000:01:10.2 is bound to vfio-pci"


def test_a_vf_that_user_space_drives_is_said_to_be_one_and_is_no_rail_to_libraries(agent):
    a = agent(attachment("llm-test", "both", TWO[0], VFIO), attachment("llm-test", "dpdk", VFIO))
    assert re.search(r"llm-test/dpdk +llm-test/dpdk +net2 \(vfio-pci: no interface\) +0000:01:10.2 ", a.kvrail("status").stdout)
    r = a.kvrail("env", "both", "-o", "json")
    env = {v["name"]: v["value"] for v in json.loads(r.stdout)["environment"]}
    assert env["UCX_NET_DEVICES"] == "mlx5_2:1" and LEFT_OUT in r.stderr
    r = a.kvrail("env", "dpdk", "-o", "json")
    assert r.returncode == 0 and json.loads(r.stdout)["environment"] == [] and LEFT_OUT in r.stderr
    r = a.kvrail("verify", "dpdk")
    assert r.returncode == 1 and LEFT_OUT in r.stderr and "llm-test/dpdk has no rail with an interface" in r.stderr


def test_misspelt_pod_is_told_the_nearest(agent):
    r = agent(attachment("llm-test", "prefill-0", TWO[0])).kvrail("env", "prefil-0")
    assert r.returncode == 1 and "did you mean prefill-0?" in r.stderr


def test_unlike_pod_is_told_what_there_is(agent):
    r = agent(attachment("llm-test", "prefill-0", TWO[0])).kvrail("env", "zzz")
    assert r.returncode == 1 and "there are: llm-test/prefill-0" in r.stderr


def test_same_name_in_two_namespaces_must_be_qualified(agent):
    a = agent(attachment("one", "p", TWO[0]), attachment("two", "p", TWO[1]))
    r = a.kvrail("env", "p")
    assert r.returncode == 1 and "one/p, two/p" in r.stderr
    assert "mlx5_3:1" in a.kvrail("env", "two/p").stdout


def test_no_agent_is_exit_code_4(tmp_path):
    r = subprocess.run([str(BUILD / "kvrail"), "env", "p"], env={**os.environ, "KVRAIL_SOCKET": str(tmp_path / "none")}, capture_output=True,
                       text=True)
    assert r.returncode == 4 and "no agent answers" in r.stderr


def test_pod_whose_namespace_is_gone_is_one_clear_error(agent):
    a = agent(attachment("a", "p", TWO[0], netns="/run/netns/kvrail-none"))
    for command in (["verify", "p"], ["kv", "serve", "--pod", "p"]):
        r = a.kvrail(*command)
        assert r.returncode == 1 and "a/p: network namespace /run/netns/kvrail-none is gone" in r.stderr


def test_kv_verb_is_checked_before_anything_else():
    r = subprocess.run([str(BUILD / "kvrail"), "kv", "sevre"], capture_output=True, text=True)
    assert r.returncode == 2 and "did you mean serve" in r.stderr


def complete(words):
    """What bash would offer for the last word."""
    script = subprocess.run([str(BUILD / "kvrail"), "completion", "bash"], capture_output=True, text=True, check=True).stdout
    array = " ".join(f"'{w}'" for w in words)
    script += f'\nCOMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _kvrail; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_options_and_values():
    assert complete(["kvrail", "ver"]) == ["verify"]
    assert complete(["kvrail", "verify", "--pe"]) == ["--peer"]
    assert complete(["kvrail", "env", "--format", ""]) == ["sh", "docker"]
    assert complete(["kvrail", "env", "-o", "y"]) == ["yaml"]
    assert complete(["kvrail", "env", "p"]) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_valid_in_each_shell(shell, tmp_path):
    text = subprocess.run([str(BUILD / "kvrail"), "completion", shell], capture_output=True, text=True, check=True).stdout
    commands = subprocess.run([str(BUILD / "kvrail"), "--help"], capture_output=True, text=True, check=True).stdout
    for line in commands.splitlines():
        if line.startswith("  "):
            assert line.split()[0] in text
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here: only what it lists was looked at")
    script = tmp_path / "script"
    script.write_text(text)
    subprocess.run([shell, "-n", str(script)], check=True)
