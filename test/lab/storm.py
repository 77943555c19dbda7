# SPDX-License-Identifier: Apache-2.0
"""Many runtimes at once, inside a lab guest: each worker attaches a pod with the installed plugin, looks at it, detaches it,
and goes on until the queue is empty. Run by test_agent.py.

usage: storm.py WORKERS FIRST PODS        prints {"pods": [...], "retries": N, "errors": [...]}
"""
import json
import subprocess
import sys
import threading
import time

PLUGIN = "/opt/cni/bin/kvrail"
RAILS = ["llm-test/roce-rail0", "llm-test/roce-rail1"]
TRY_AGAIN = 11

queue = iter(range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])))
lock = threading.Lock()
result = {"pods": [], "retries": 0, "errors": []}


def cni(command, netns, container, networks):
    conf = {"cniVersion": "1.1.0", "name": "kvrail", "type": "kvrail", "networks": networks}
    env = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{netns}", "CNI_IFNAME": "eth0",
           "CNI_PATH": "/opt/cni/bin", "CNI_ARGS": f"K8S_POD_NAMESPACE=llm-test;K8S_POD_NAME={container}"}
    r = subprocess.run([PLUGIN], input=json.dumps(conf), capture_output=True, text=True, env=env)
    return r.returncode, json.loads(r.stdout) if r.stdout.strip() else {}


def attach(netns, container, networks):
    while True:
        code, answer = cni("ADD", netns, container, networks)
        if code == 0:
            return answer
        with lock:
            if answer.get("code") != TRY_AGAIN:
                result["errors"].append(answer)
                return None
            result["retries"] += 1
        time.sleep(0.5)


def one_pod(netns, number):
    container = f"storm-{number}"
    networks = ",".join(RAILS if number % 3 == 0 else RAILS[number % 2:][:1])
    answer = attach(netns, container, networks)
    if not answer:
        return
    begin = time.monotonic()
    time.sleep(0.05)
    end = time.monotonic()
    code, failure = cni("DEL", netns, container, networks)
    with lock:
        if code:
            result["errors"].append(failure)
        result["pods"].append({"begin": begin, "end": end, "vfs": [i["pciID"] for i in answer["interfaces"]],
                               "addresses": [i["address"] for i in answer["ips"]], "rails": networks.count(",") + 1})


def worker(number):
    netns = f"storm{number}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    while True:
        with lock:
            pod = next(queue, None)
        if pod is None:
            break
        one_pod(netns, pod)
    subprocess.run(["ip", "netns", "del", netns], check=True)


workers = [threading.Thread(target=worker, args=(n,)) for n in range(int(sys.argv[1]))]
for w in workers:
    w.start()
for w in workers:
    w.join()
print(json.dumps(result))
