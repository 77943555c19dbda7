# SPDX-License-Identifier: Apache-2.0
"""Bad input on the command line: one clear error with field, value and way out, non-zero exit, nothing changed.

What goes wrong within an attachment is in test_attach.py, at the shim in test_shim.py, between kv peers in test_kv.py.
"""
import json
import os
import pathlib
import subprocess

import pytest

from test_agent import NETWORK, NETWORKS, node, pod  # noqa: F401 (fixtures)

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("KVRAIL_BUILD", "build-asan")
POLICY = """apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: a}
spec:
  resourceName: r
  nodeSelector: {}
  numVfs: 4
  nicSelector: {pfNames: [p2]}
"""
RAIL = NETWORK % ("a", "rail0", "10.9.0.0/24")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and netdevs")


def kvrail(*args, rc=1, **options):
    r = subprocess.run([BUILD / "kvrail", *map(str, args)], capture_output=True, timeout=60, **options)
    out, err = r.stdout.decode(), r.stderr.decode()
    assert r.returncode == rc, out + err
    assert "Sanitizer" not in err and "runtime error" not in err, err
    return out, err


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    subprocess.run(["/usr/bin/python3", ROOT / "test/trees/generate.py", folder, "dell-cx6dx"], check=True)
    return folder / "dell-cx6dx"


def bomb():
    rows = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    rows += [f"{y}: &{y} [{','.join(['*' + x] * 9)}]" for x, y in zip("abcdefghi", "bcdefghij")]
    return "\n".join(rows)


MALFORMED = {  # what is no document at all: refused before anything is read from it
    "nothing": (b"", "no object in it"),
    "comments": (b"# nothing\n---\n", "no object in it"),
    "binary": (b"kind: \xa3\xff", ":1:7: byte 0xa3 is not UTF-8"),
    "utf-16": (POLICY.encode("utf-16"), "is not UTF-8"),
    "nul": (b"kind: A\0b\n", ":1:8: a NUL byte"),
    "tab": (b"a:\n\tb: 1\n", ":2:1: a tab"),
    "indent": (POLICY.replace("  numVfs", "   numVfs").encode(), ":7:4: "),
    "json cut short": (b'{"kind":"Node",\n"metadata":{', ":2:"),
    "yaml duplicate": (POLICY.encode() + b"  numVfs: 5\n", ':9:3: key "numVfs" is there twice, first in line 7'),
    "json duplicate": (b'{"kind":"Node","kind":"Node"}', '"kind": the key is there twice'),
    "deep flow": (b"a: " + b"[" * 100000, "nested more than 64 deep"),
    "deep block": ("".join(" " * i + "a:\n" for i in range(300)).encode(), "nested more than 64 deep"),
    "deep json": (b'{"a":' * 5000, "nested more than 64 deep"),
    "alias bomb": (bomb().encode(), "aliases expand to more than 16 MiB"),
    "no anchor": (b"a: *nope\n", ":1:4: alias *nope"),
    "large": (b'a: "' + b"x" * (17 << 20) + b'"', "larger than 16 MiB"),
}


@pytest.mark.parametrize("kind", ["SriovNetworkNodePolicy", "SriovNetworkNodeState", "SriovNetwork", "Node"])
@pytest.mark.parametrize("command", ["validate", "plan", "render", "apply"])
def test_an_object_without_a_name_of_its_own_is_refused(tmp_path, kind, command):
    spec = {"SriovNetworkNodePolicy": {"resourceName": "r", "nodeSelector": {}, "numVfs": 4, "nicSelector": {"pfNames": ["p2"]}},
            "SriovNetwork": {"resourceName": "r"}}.get(kind, {})
    named = {"apiVersion": "v1" if kind == "Node" else "sriovnetwork.openshift.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    f = tmp_path / "f.json"
    f.write_text(json.dumps([named | {"metadata": {"generateName": "x-"}}, named]))
    out, err = kvrail(command, "-f", f, env={**os.environ, "KVRAIL_SOCKET": str(tmp_path / "none")})
    assert out == "" and f"{kind} (no name): metadata.name: is missing: generateName is for the API server" in err, err


@pytest.mark.parametrize("command", ["validate", "plan", "render", "apply"])
@pytest.mark.parametrize("bad", MALFORMED)
def test_what_is_no_manifest_is_one_line(tmp_path, bad, command):
    text, says = MALFORMED[bad]
    f = tmp_path / "f.yaml"
    f.write_bytes(text)
    out, err = kvrail(command, "-f", f, env={**os.environ, "KVRAIL_SOCKET": str(tmp_path / "none")})
    assert out == "" and err.count("\n") == 1 and err.startswith(f"kvrail {command}: {f}") and says in err, err
    assert ("nothing was changed" in err) == (command == "apply")


@pytest.mark.parametrize("path,says", [("/proc/self/fdinfo", "has no file that ends in .yaml"), ("/nonexistent", "No such file"), ("", "empty value")])
def test_what_is_no_file_is_named(path, says):
    assert says in kvrail("validate", "-f", path, rc=1 if path else 2)[1]


WRONG = {  # (what of the policy, by what, line, complaint)
    "too large": ("numVfs: 4", "numVfs: 99999999999999999999999", 7, "spec.numVfs: 1e23 is too large"),
    "above 16 bits": ("numVfs: 4", "numVfs: 65536", 7, "spec.numVfs: 65536 is above 65535"),
    "fraction": ("numVfs: 4", "numVfs: 4.5", 7, "spec.numVfs: 4.5 is no whole number"),
    "quoted": ("numVfs: 4", 'numVfs: "4"', 7, "take the quotes away"),
    "mtu low": ("numVfs: 4", "numVfs: 4\n  mtu: 10", 8, "spec.mtu: 10 is below 68"),
    "mtu high": ("numVfs: 4", "numVfs: 4\n  mtu: 70000", 8, "spec.mtu: 70000 is above 65535"),
    "no kind": ("kind: SriovNetworkNodePolicy\n", "", 1, "kind: is missing"),
    "no version": ("apiVersion: sriovnetwork.openshift.io/v1\n", "", 1, "apiVersion: is missing"),
    "version": ("io/v1", "io/v2", 1, '"sriovnetwork.openshift.io/v2" is not sriovnetwork.openshift.io/v1'),
    "no name": ("{name: a}", "{}", 3, "metadata.name: is missing"),
    "unicode name": ("name: a", 'name: "größe"', 3, 'metadata.name: "größe" is no name'),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_field_is_named_with_line_and_value(wrong):
    old, new, line, says = WRONG[wrong]
    _, err = kvrail("validate", "-f", "-", input=POLICY.replace(old, new).encode())
    assert err.startswith(f"stdin:{line}: ") and says in err and err.count("\n") == 2, err
    assert "nothing was changed" not in err


def test_a_message_cannot_command_the_terminal():
    _, err = kvrail("validate", "-f", "-", input=POLICY.replace("name: a", 'name: "a\\e[31m"').encode())
    assert "\x1b" not in err and "a?[31m" in err


def test_a_kind_that_is_not_known_is_left_out_and_said():
    _, err = kvrail("validate", "-f", "-", rc=0, input=POLICY.replace("Policy\n", "Polcy\n").encode())
    assert "stdin:2: warning: " in err and "did you mean SriovNetworkNodePolicy?" in err
    _, err = kvrail("validate", "-f", "-", rc=0, input=POLICY.replace("sriovnetwork.openshift.io/v1", "v1").encode())
    assert "of v1 is none that kvrail knows, that of sriovnetwork.openshift.io/v1 is" in err
    kvrail("validate", "--strict", "-f", "-", input=POLICY.replace("Policy\n", "Polcy\n").encode())


def test_the_same_object_twice_says_where_the_first_is(tmp_path):
    (tmp_path / "1.yaml").write_text(POLICY)
    _, err = kvrail("validate", "-f", tmp_path / "1.yaml", "-f", "-", input=POLICY.encode())
    assert f"stdin:3: SriovNetworkNodePolicy a: metadata.name: a is there twice, first in {tmp_path}/1.yaml:2" in err


@pytest.mark.parametrize("ipam,says", [
    ('"range": "10.9.0.0"', "ipam.range 10.9.0.0"),
    ('"range": "10.9.0.300/24"', "ipam.range 10.9.0.300/24"),
    ('"range": "10.9.0.0/24", "exclude": ["10.10.0.0/30"]', "10.10.0.0/30"),
    ('"range": "10.9.0.0/24", "exclude": ["hello"]', "hello"),
    ('"range": "10.9.0.0/24", "range_end": "10.9.1.9"', "10.9.1.9"),
])
@pytest.mark.parametrize("command", ["validate", "apply"])
def test_an_address_range_is_checked_before_a_pod_needs_it(tmp_path, command, ipam, says):
    text = RAIL.replace('"range": "10.9.0.0/24"', ipam)
    _, err = kvrail(command, "-f", "-", input=text.encode(), env={**os.environ, "KVRAIL_SOCKET": str(tmp_path / "none")})
    assert "stdin:7: SriovNetwork a: spec.ipam: " in err and says in err
    out, err = kvrail("render", "-f", "-", "-o", "json", rc=0, input=text.encode())  # the operator takes it
    assert "warning: SriovNetwork a: spec.ipam: " in err and len(json.loads(out)) == 1


def test_render_takes_what_the_operator_takes():
    states = POLICY.replace("numVfs: 4", "numVfs: 0") + "---\n" + \
        POLICY.replace("name: a", "name: b").replace("[p2]", '["p2#0-7"]').replace("resourceName: r", "resourceName: q") + """---
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodeState
metadata: {name: n1}
status: {interfaces: [{name: p2, pciAddress: '0000:5c:00.0', vendor: '8086', deviceID: '1592', totalvfs: 8}]}
"""
    out, err = kvrail("render", "-f", "-", "-o", "json", rc=0, input=states.encode())
    assert "stdin:7: warning: SriovNetworkNodePolicy a: spec.numVfs: numVfs(0) in CR a is not allowed" in err
    assert "stdin:17: warning: SriovNetworkNodePolicy b: spec.nicSelector.pfNames[0]: " in err
    (port,) = json.loads(out)[0]["spec"]["interfaces"]
    assert port["numVfs"] == 4 and [g["vfRange"] for g in port["vfGroups"]] == ["0-7"]
    out, err = kvrail("render", "--strict", "-f", "-", input=states.encode())
    assert out == "" and "warning" not in err
    _, err = kvrail("render", "-f", "-", input=(RAIL.replace('"type": "whereabouts"', '"type": whereabouts')).encode())
    assert err.count("spec.ipam") == 1 and err.count("SriovNetwork a") == 1, err


def plan(tree, policy, rc):
    return kvrail("plan", "--root", tree, "-f", "-", rc=rc, input=policy.encode())


def test_a_port_cannot_have_more_than_it_has(tree):
    out, _ = plan(tree, POLICY.replace("numVfs: 4", "numVfs: 500"), 3)
    assert "cannot be done: 500 VFs wanted, the port has at most 8" in out and "lower numVfs" in out
    out, _ = plan(tree, POLICY + "  mtu: 12000\n", 3)
    assert "cannot be done: mtu 12000 is above 9978" in out


def test_a_port_that_is_absent_is_named_with_those_that_are_there(tree):
    out, _ = plan(tree, POLICY.replace("p2", "p99"), 3)
    assert "of 4 ports (p2 (enp92s0f0np0), p3 " in out and "pfNames p99 matches 0" in out and "as the policies ask" not in out
    out, _ = plan(tree, POLICY.replace("p2", "p99").replace("{}", "{zone: a}"), 3)
    r = kvrail("plan", "--root", tree, "--node-labels", "zone=b", "-f", "-", rc=0,
               input=POLICY.replace("p2", "p99").replace("{}", "{zone: a}").encode())
    assert "is for other nodes" in r[0]


def test_overlapping_vfs_name_both_policies(tree):
    two = POLICY.replace("[p2]", '["p2#0-2"]') + "---\n" + \
        POLICY.replace("name: a", "name: b").replace("[p2]", '["p2#2-3"]').replace("resourceName: r", "resourceName: q")
    out, err = plan(tree, two, 1)
    assert out == "" and "SriovNetworkNodePolicy b: spec.nicSelector.pfNames[0]" in err and "existing policy a" in err


@pytest.mark.parametrize("root,says", [("/nonexistent", "/nonexistent"), ("/etc/passwd", "Not a directory")])
def test_a_tree_that_is_none_is_named(root, says):
    assert says in kvrail("inventory", "--root", root)[1]


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        r = subprocess.run([BUILD / "kvrail", "render", "-f", "-"], input=RAIL.encode(), stdout=full, stderr=subprocess.PIPE)
    assert r.returncode == 1 and b"No space left" in r.stderr


def cni(node, conf="", **env):  # noqa: F811
    e = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/none", "CNI_IFNAME": "net1", "CNI_PATH": "/p",
         "KVRAIL_SOCKET": node.env["KVRAIL_SOCKET"], **env}
    r = subprocess.run([BUILD / "kvrail-cni"], input=conf or '{"cniVersion":"1.0.0","name":"a","type":"kvrail"}', env=e,
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and r.stderr == ""
    return json.loads(r.stdout)


@needs_root
def test_mistakes_of_a_runtime_reach_it_as_cni_errors(node):  # noqa: F811
    node.start()
    for env, code, says in [
        ({"CNI_CONTAINERID": ""}, 4, "CNI_CONTAINERID"),
        ({"CNI_CONTAINERID": "../../etc"}, 4, "../../etc"),
        ({"CNI_CONTAINERID": "größe"}, 4, "größe"),
        ({"CNI_CONTAINERID": "a" * 5000}, 4, "longer than 200 bytes"),
        ({"CNI_ARGS": "hello"}, 4, "hello"),
        ({"CNI_IFNAME": "a" * 16}, 4, "less than 16"),
        ({"CNI_IFNAME": "a/b"}, 4, "a/b"),
        ({"CNI_COMMAND": "add"}, 4, "add"),
        ({"conf": "\x01"}, 6, "no JSON"),
        ({"conf": '{"cniVersion":1,"name":"a"}'}, 6, "cniVersion must be a string"),
        ({"conf": '{"cniVersion":"1.0.0","name":"a"}{}'}, 6, "after the end"),
    ]:
        e = cni(node, **env)
        assert e["code"] == code and says in e["msg"] + e.get("details", ""), e
    assert node.status()["attachments"] == [] and os.listdir(node.dir / "state/attach") == []


@needs_root
@pytest.mark.parametrize("networks,says", [
    ('[{"name":"a"', "networks:1:13"),
    ('[{"name":"a","interface":5}]', "[0].interface must be a string"),
    ('[{"nam":"a"}]', "[0]: name is missing"),
    ("a,,b", "network 2 (character 3)"),
    ("a,b/c/d", "network 2 (character 3)"),
    ("a@waytoolonginterface", '"waytoolonginterface": 1 to 15 bytes'),
    ("a@a/b", 'network 1 (character 1), "a@a/b"'),
    ("", "names no network"),
])
def test_an_annotation_with_an_error_says_where(node, pod, networks, says):  # noqa: F811
    node.start()
    node.kvrail("apply", "-f", "-", input=NETWORKS)
    path, name = pod("p")
    r = node.kvrail("attach", "p", networks, "--netns", path)
    assert r.returncode == 1 and says in r.stderr and r.stderr.count("\n") == 1, r.stderr
    assert node.status()["attachments"] == []


@needs_root
def test_a_range_that_is_exhausted_says_who_holds_it(node, pod):  # noqa: F811
    node.start()
    node.kvrail("apply", "-f", "-", input=NETWORK % ("ra", "rail0", "10.20.0.0/30") + "---" + NETWORK % ("rb", "rail1", "10.20.0.0/30"))
    assert node.kvrail("attach", "p", "ra", "rb", "--netns", pod("p")[0]).returncode == 0
    r = node.kvrail("attach", "q", "ra", "--netns", pod("q")[0])
    assert r.returncode == 1 and "10.20.0.0/30" in r.stderr and "default/p" in r.stderr, r.stderr
    assert [a["pod"]["name"] for a in node.status()["attachments"]] == ["p"]


@needs_root
def test_an_apply_while_another_runs_is_done_or_told_to_wait(node):  # noqa: F811
    node.start()
    texts = ["---".join(NETWORK % (f"net{who}-{i}", "rail0", "10.9.0.0/24") for i in range(100)) for who in range(4)]
    running = [subprocess.Popen([BUILD / "kvrail", "apply", "-f", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=node.env) for _ in texts]
    for p, text in zip(running, texts):
        p.stdin.write(text)
    for p in running:
        p.stdin.close()
    done = 0
    for p in running:
        err = p.stderr.read()
        assert (p.wait(60) == 0 and err == "") or (p.returncode == 1 and "another apply is running: wait for it" in err), err
        done += 100 * (p.returncode == 0)
    assert done and len(json.loads(node.kvrail("get", "net-attach-def", "-o", "json").stdout)) == done


@needs_root
def test_two_agents_cannot_have_one_socket(node, tmp_path):  # noqa: F811
    node.start()
    r = subprocess.run([BUILD / "kvrail", "agent", "--standalone", "--rdma-netns=keep"], capture_output=True, text=True, timeout=60,
                       env={**node.env, "KVRAIL_STATE": str(tmp_path / "other")})
    assert r.returncode == 1 and f"another agent answers on {node.env['KVRAIL_SOCKET']}" in r.stderr
    assert node.kvrail("status").returncode == 0


@needs_root
@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(f.read_bytes()[:5000]), lambda f: f.write_bytes(b"hello" * 1000)],
                         ids=["cut short", "other bytes"])
def test_a_damaged_store_is_left_as_it_is_and_named(node, damage):  # noqa: F811
    node.start()
    node.kvrail("apply", "-f", "-", input=NETWORKS)
    node.kill()
    db = node.dir / "state/store.db"
    for rest in db.parent.glob("store.db-*"):
        rest.unlink()
    damage(db)
    before = db.read_bytes()
    r = subprocess.run([BUILD / "kvrail", "agent", "--standalone", "--rdma-netns=keep"], capture_output=True, text=True, timeout=60,
                       env=node.env)
    assert r.returncode == 1 and f"{db} is damaged" in r.stderr and "away, delete the pods that have addresses, then start again" in r.stderr, r.stderr
    assert db.read_bytes() == before


def as_one_who_may_not_look(*command):
    """In a mount namespace of its own, with an empty /run; root without the right to look into folders that are not its own."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    return ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /run && mkdir -m 0 /run/kvrail && exec "$@"', "sh", *drop, *map(str, command)]


@needs_root
def test_what_only_root_may_see_is_not_taken_for_absent(tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "KVRAIL_SOCKET"} | {"HOME": str(tmp_path), "KVRAIL_STATE": str(tmp_path / "state")}
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").write_text("apiVersion: v1\nkind: Config\n")
    r = subprocess.run(as_one_who_may_not_look(BUILD / "kvrail", "get", "sriovnetworks"), capture_output=True, text=True, timeout=60, env=env)
    assert "/run/kvrail/agent.sock belongs to root: run as root" in r.stderr  # this host's agent, not the cluster of ~/.kube/config
    (tmp_path / "state").mkdir(mode=0)
    r = subprocess.run(as_one_who_may_not_look(BUILD / "kvrail", "plan", "-f", "-"), capture_output=True, text=True, timeout=60, env=env,
                       input=POLICY)
    assert "which pods hold VFs, and which ports kvrail set up before, is not in this plan; run it as root" in r.stderr


def test_a_kind_of_a_cluster_is_told_from_one_that_is_not(tmp_path):
    env = {**os.environ, "KVRAIL_SOCKET": str(tmp_path / "none")}
    assert "for a cluster's objects give --kubeconfig" in kvrail("get", "pods", env=env)[1]
    assert "KIND NAME is for a cluster" in kvrail("delete", "sriovnetworks", "a", rc=2, env=env)[1]
