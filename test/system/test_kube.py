# SPDX-License-Identifier: Apache-2.0
"""The API server's client against a server that fails on demand, under AddressSanitizer."""
import base64
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from faults import Fake, Fault, FaultServer, kubeconfig, make_ca, make_cert, status  # noqa: E402
from kubedriver import DRIVER, Held, environment, run  # noqa: E402

CMS = "/api/v1/namespaces/default/configmaps"
REF = "/v1/configmaps/default"


@pytest.fixture
def server():
    with FaultServer(Fake()) as s:
        yield s


@pytest.fixture
def config(server, tmp_path):
    return kubeconfig(tmp_path, server.url, user={"token": "t0"})


def cm(name, **data):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


# requests

def test_a_read_is_tried_again_through_all_that_passes(server, config):
    server.backend.put(CMS, "a", {"data": {"x": "1"}})
    for fault in (Fault(close=True), Fault(status=500), Fault(status=503), Fault(status=429, headers={"Retry-After": "1"}), Fault(cut=20), Fault(lose=True)):
        server.fault(fault, "GET", "/configmaps/a")
    start = time.time()
    assert run(config, "get", f"{REF}/a").json["data"] == {"x": "1"}
    assert time.time() - start >= 1  # Retry-After was kept
    assert len(server.asked("GET", "/configmaps/a")) == 7


def test_a_change_is_not_repeated_when_it_may_have_been_made(server, config):
    server.fault(Fault(lose=True), "POST")
    r = run(config, "create", f"{REF}/", cm("a"))
    assert r.error == "EHOSTUNREACH" and "whether the change was made is not known" in r.text
    assert len(server.asked("POST")) == 1 and f"{CMS}/a" in server.backend.objects
    server.fault(Fault(status=500), "POST")
    assert run(config, "create", f"{REF}/", cm("b")).error == "EHOSTUNREACH"
    assert len(server.asked("POST")) == 2


def test_a_change_is_repeated_when_it_was_turned_away(server, config):
    server.fault(Fault(status=429, headers={"Retry-After": "1"}), "POST")
    server.fault(Fault(status=503, headers={"Retry-After": "1"}), "POST")
    assert run(config, "create", f"{REF}/", cm("a")).rc == 0
    assert len(server.asked("POST")) == 3


def test_a_guarded_change_is_repeated_and_found_out_by_its_version(server, config):
    server.backend.put(CMS, "a", {"data": {}})
    version = server.backend.objects[f"{CMS}/a"]["metadata"]["resourceVersion"]
    server.fault(Fault(lose=True), "PUT")
    obj = {"metadata": {"name": "a", "resourceVersion": version}, "data": {"x": "1"}}
    r = run(config, "update", f"{REF}/a", json.dumps(obj))
    assert r.error == "ESTALE" and len(server.asked("PUT")) == 2  # it was made: the caller reads and sees it


def test_refusals_have_their_errno_and_the_servers_words(server, config):
    for code, reason, error in ((400, "BadRequest", "EINVAL"), (403, "Forbidden", "EPERM"), (409, "Conflict", "ESTALE"),
                                (409, "AlreadyExists", "EEXIST"), (410, "Expired", "ENODATA"), (418, "Teapot", "EPROTO")):
        server.fault(Fault(status=code, body=status(code, reason, f"because of {reason}")))
        r = run(config, "get", f"{REF}/a")
        assert r.error == error and f"because of {reason}" in r.text, (code, r.text)
    server.fault(Fault(status=404, body="404 page not found\n"))
    r = run(config, "list", "example.com/v1/things")
    assert r.error == "ENOENT" and "things.example.com/v1: its CRD is missing; install it with" in r.text
    r = run(config, "get", f"{REF}/none")
    assert r.error == "ENOENT" and 'configmaps "none" not found' in r.text


def test_no_name_leads_elsewhere(server, config):
    server.backend.put(CMS, "a", {"data": {}})
    for ref in (f"{REF}/.", f"{REF}/..", "/v1/configmaps/./a", "/v1/configmaps/../a"):
        assert run(config, "get", ref).error == "ENOENT", ref
        for verb, body in (("update", [cm("a")]), ("patch", [cm("a")]), ("delete", [])):
            assert run(config, verb, *(["merge"] if verb == "patch" else []), ref, *body).error == "EINVAL", (verb, ref)
    assert not server.requests
    run(config, "raw", "GET", f"{CMS}/x/..")  # as it is written
    assert [r.path for r in server.requests] == [f"{CMS}/x/.."]


def test_a_server_that_is_away_is_told_in_time(server, config):
    server.fault(Fault(times=100, status=503))
    start = time.time()
    r = run(config, "get", f"{REF}/a", timeout_ms=1500)
    assert r.error == "EHOSTUNREACH" and "503" in r.text and time.time() - start < 5
    assert 3 <= len(server.requests) <= 30
    server.faults.clear()
    server.fault(Fault(times=100, hang=30))
    start = time.time()
    r = run(config, "get", f"{REF}/a", timeout_ms=1000)
    assert r.error == "EHOSTUNREACH" and server.url in r.text and time.time() - start < 5


def test_what_is_no_json_is_an_error(server, config):
    server.fault(Fault(status=200, body="<html>a proxy's page</html>"))
    assert run(config, "get", f"{REF}/a").error == "EINVAL"
    server.fault(Fault(status=200, body='{"items":[1,2]}'))
    assert run(config, "list", REF).error in ("EPROTO", "EINVAL")


# lists

def test_a_list_that_breaks_off_brings_each_object_once(server, config):
    for i in range(1200):
        server.backend.put(CMS, f"o{i:04}", {"data": {"x": "y" * 20}})
    server.fault(Fault(cut=40000), "GET", "/configmaps\\?")
    server.fault(Fault(slow=0.1, times=1), "GET", "continue")
    server.fault(Fault(cut=10000), "GET", "continue")
    server.fault(Fault(status=410), "GET", "continue")
    lines = run(config, "list", REF).text.splitlines()
    assert len(lines) == 1201 and len(set(lines)) == 1201
    assert lines[-1] == f"version {server.backend.version}"


def test_a_list_larger_than_memory_would_like_is_never_held_whole(server, config):
    for i in range(2000):
        server.backend.put(CMS, f"o{i:04}", {"data": {"x": "y" * 20000}})
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True, stderr=subprocess.DEVNULL)\n" \
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    r = subprocess.run([sys.executable, "-c", script, DRIVER, "list", REF], env=environment(config, ASAN_OPTIONS="quarantine_size_mb=1"),
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    assert int(r.stdout) < 36_000, f"{r.stdout} KiB for a list of 40,000"


# informers

def test_an_informer_lists_watches_and_resumes(server, config):
    server.backend.put(CMS, "a", {"data": {"x": "1"}})
    server.backend.put(CMS, "skip", {"data": {"ignore": "1"}})
    with Held(config, "watch", REF) as w:
        w.expect('ADDED default/a {"x":"1"}', "SYNCED")
        server.backend.put(CMS, "a", {"data": {"x": "2"}})
        w.expect('CHANGED default/a {"x":"2"}')
        server.backend.put(CMS, "a", {"data": {"x": "2"}, "other": 1})  # nothing that is kept
        server.backend.put(CMS, "b", {"data": {}})
        w.expect("ADDED default/b {}")
        server.backend.put(CMS, "b", {"data": {"ignore": "1"}})
        w.expect("DELETED default/b {}")
        server.backend.remove(f"{CMS}/a")
        w.expect('DELETED default/a {"x":"2"}')
        assert w.all() == {}
    assert len(server.asked(path="limit=")) == 1
    assert all("allowWatchBookmarks=true" in r.path for r in server.asked(path="watch=1"))


def test_an_informer_resumes_where_a_watch_was_cut(server, config):
    server.fault(Fault(lines=3), path="watch=1")
    server.fault(Fault(cut=30), path="watch=1")  # in the middle of a line
    server.fault(Fault(status=500), path="watch=1")
    server.fault(Fault(close=True), path="watch=1")
    with Held(config, "watch", REF) as w:
        w.expect("SYNCED")
        for i in range(30):
            server.backend.put(CMS, "a", {"data": {"x": str(i)}})
            time.sleep(0.02)
        seen = w.until('CHANGED default/a {"x":"29"}')
        assert [s.split('"')[3] for s in seen] == [str(i) for i in range(30)], seen  # none lost, none twice
    assert len(server.asked(path="limit=")) == 1


def test_an_informer_lists_again_when_its_version_is_gone(server, config):
    server.backend.put(CMS, "stays", {"data": {}})
    server.backend.put(CMS, "goes", {"data": {}})
    server.backend.put(CMS, "reborn", {"data": {"x": "1"}})
    with Held(config, "watch", REF) as w:
        w.until("SYNCED")
        lists = server.fault(Fault(times=3, status=500), path="limit=")
        server.backend.compact()  # ends the watch with 410; until a list works, changes go unseen
        server.backend.remove(f"{CMS}/goes")
        server.backend.remove(f"{CMS}/reborn")
        server.backend.put(CMS, "reborn", {"data": {"x": "1"}})
        server.backend.put(CMS, "comes", {"data": {}})
        seen = w.until("SYNCED", timeout=30)
        assert lists.times == 0
        assert seen[:-1] == ["ADDED default/comes {}", "DELETED default/goes {}", 'DELETED default/reborn {"x":"1"}',
                             'ADDED default/reborn {"x":"1"}']
        assert set(w.all()) == {"default/stays", "default/reborn", "default/comes"}


def test_an_informer_says_how_stale_it_is(server, config, tmp_path):
    with Held(kubeconfig(tmp_path, "http://127.0.0.1:1", name="none"), "watch", REF) as w:
        w.say("wait")
        line = w.until("wait")[-1]
        assert line.startswith("wait 0") and "does not answer" in line
        w.say("stale")
        assert "does not answer" in w.until("stale")[-1]
    with Held(config, "watch", REF) as w:
        w.until("SYNCED")
        time.sleep(0.3)
        w.say("stale")
        assert w.until("stale")[-1] == "stale 0 "
        server.fault(Fault(times=1000, status=503), path="watch=1")
        server.backend.compact()
        server.fault(Fault(times=1000, status=503), path="limit=")
        time.sleep(2.5)
        w.say("stale")
        line = w.until("stale")[-1]
        assert int(line.split()[1]) >= 1 and "503" in line


def test_an_informer_ends_at_once_whatever_it_does(server, config):
    for fault in (None, Fault(times=100, status=503), Fault(times=100, hang=60), Fault(times=1000, slow=5)):
        server.faults.clear()
        if fault:
            server.fault(fault)
        with Held(config, "watch", REF) as w:
            time.sleep(0.5)
            start = time.time()
        assert time.time() - start < 3, fault and fault.what


# who we are

def test_a_token_file_is_read_again_when_it_changes(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    config = kubeconfig(tmp_path, server.url, user={"tokenFile": "token"})
    with Held(config, "watch", REF) as w:
        w.until("SYNCED")
        (tmp_path / "new").write_text("second")
        os.rename(tmp_path / "new", token)
        server.fault(Fault(lines=0), path="watch=1")
        server.backend.compact()
        w.until("SYNCED")
    seen = [r.headers["Authorization"] for r in server.requests]
    assert seen[0] == "Bearer first" and seen[-1] == "Bearer second"


def test_an_expired_token_is_told_and_a_refreshed_one_used(server, tmp_path):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1700000000}).encode()).decode().rstrip("=")
    config = kubeconfig(tmp_path, server.url, user={"token": f"e30.{claims}.x"})
    server.fault(Fault(times=100, status=401, body=status(401, "Unauthorized", "Unauthorized")))
    r = run(config, "get", f"{REF}/a")
    assert r.error == "EACCES" and f"{config}, context test" in r.text and "its token expired on 2023-11-14 22:13:20 UTC" in r.text
    assert len(server.requests) == 2
    server.faults.clear()
    server.backend.put(CMS, "a", {})
    server.fault(Fault(status=401, body=status(401, "Unauthorized", "Unauthorized")))
    assert run(kubeconfig(tmp_path, server.url, user={"tokenFile": str(tmp_path / "t")}), "get", f"{REF}/a").error == "EACCES"
    (tmp_path / "t").write_text("fine")
    assert run(config, "get", f"{REF}/a").rc == 0  # 401 once, asked again with what the file has


def test_a_program_gives_credentials_and_is_asked_again_when_they_expire(server, tmp_path):
    script = tmp_path / "login"
    script.write_text("""#!/bin/sh
n=$(($(cat %s/n 2>/dev/null || echo 0) + 1)); echo $n >%s/n
echo "$KUBERNETES_EXEC_INFO" >%s/info
[ "$WHO" = jane ] || exit 7
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"p'$n'","expirationTimestamp":"2020-01-01T00:00:00Z"}}'
""" % (tmp_path, tmp_path, tmp_path))
    script.chmod(0o755)
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "env": [{"name": "WHO", "value": "jane"}],
             "provideClusterInfo": True, "interactiveMode": "Never"}
    server.backend.put(CMS, "a", {})
    config = kubeconfig(tmp_path, server.url, user={"exec": exec_})
    server.fault(Fault(status=500))
    assert run(config, "get", f"{REF}/a").rc == 0
    assert [r.headers["Authorization"] for r in server.requests] == ["Bearer p1", "Bearer p2"]  # it had expired by the second try
    info = json.loads((tmp_path / "info").read_text())
    assert info["spec"]["cluster"]["server"] == server.url and info["spec"]["interactive"] is False
    script.write_text(script.read_text().replace("2020", "2999"))
    server.requests.clear()
    server.fault(Fault(status=500))
    assert run(config, "get", f"{REF}/a").rc == 0
    assert [r.headers["Authorization"] for r in server.requests] == ["Bearer p3", "Bearer p3"]
    exec_["env"] = [{"name": "WHO", "value": "joe"}]
    r = run(kubeconfig(tmp_path, server.url, user={"exec": exec_}), "get", f"{REF}/a")
    assert r.error == "EACCES" and "login failed with status 7: it said nothing" in r.text
    exec_.update(command="no-such-program", installHint="Install it from somewhere.")
    r = run(kubeconfig(tmp_path, server.url, user={"exec": exec_}), "get", f"{REF}/a")
    assert r.error == "EACCES" and "cannot be started" in r.text and "Install it from somewhere." in r.text


def test_a_proxy_is_used_when_one_is_named_but_not_for_this_machine(server, tmp_path):
    config = kubeconfig(tmp_path, "http://api.example", cluster={"proxy-url": server.url})
    assert run(config, "raw", "GET", "/version").rc == 0
    config = kubeconfig(tmp_path, "http://api.example")
    assert run(config, "raw", "GET", "/version", environ={"http_proxy": server.url}).rc == 0
    assert [r.path for r in server.requests] == ["http://api.example/version"] * 2
    config = kubeconfig(tmp_path, server.url)
    assert run(config, "raw", "GET", "/version", environ={"http_proxy": "http://127.0.0.1:1"}).rc == 0


def test_another_user_is_impersonated(server, tmp_path):
    run(kubeconfig(tmp_path, server.url, user={"token": "t", "as": "jane", "as-groups": ["dev", "ops"]}), "raw", "GET", "/version")
    assert server.requests[0].headers["Impersonate-User"] == "jane" and server.requests[0].headers["Impersonate-Group"] in ("dev", "ops")


# TLS

@pytest.fixture
def pki(tmp_path):
    ca = make_ca(tmp_path)
    return ca, make_cert(tmp_path, ca, "server", ["IP:127.0.0.1", "DNS:api.example"])


def test_tls_by_ca_file_and_by_ca_data(pki, tmp_path):
    ca, cert = pki
    with FaultServer(Fake(), tls=cert) as s:
        data = base64.b64encode(ca.read_bytes()).decode()
        for cluster in ({"certificate-authority": "ca.crt"}, {"certificate-authority-data": data}, {"insecure-skip-tls-verify": True},
                        {"certificate-authority": "ca.crt", "tls-server-name": "api.example"}):
            r = run(kubeconfig(tmp_path, s.url, cluster=cluster), "raw", "GET", "/version")
            assert r.rc == 0, (cluster, r.text)


def test_a_certificate_of_another_cluster_is_told(pki, tmp_path):
    _, cert = pki
    make_ca(tmp_path, "other")
    with FaultServer(Fake(), tls=cert) as s:
        config = kubeconfig(tmp_path, s.url, cluster={"certificate-authority": "other.crt"})
        r = run(config, "raw", "GET", "/version")
        assert r.error == "EKEYREJECTED"
        for word in (s.url, str(tmp_path / "other.crt"), f"{config}, context test", "get a new kubeconfig"):
            assert word in r.text, (word, r.text)
        r = run(kubeconfig(tmp_path, s.url, cluster={"certificate-authority": "ca.crt", "tls-server-name": "wrong.example"}), "raw", "GET", "/version")
        assert r.error == "EKEYREJECTED"
        assert not s.requests
        r = run(kubeconfig(tmp_path, s.url, cluster={"certificate-authority": "none.crt"}), "raw", "GET", "/version")
        assert r.error == "ENOENT" and "its certificate-authority" in r.text
        (tmp_path / "empty.crt").write_text("nothing\n")
        r = run(kubeconfig(tmp_path, s.url, cluster={"certificate-authority": "empty.crt"}), "raw", "GET", "/version")
        assert r.error == "EINVAL" and "holds no PEM" in r.text


def test_a_client_certificate_is_shown_and_http2_is_offered(pki, tmp_path):
    ca, cert = pki
    crt, key = make_cert(tmp_path, ca, "jane", ["DNS:jane"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2", "http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve():
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(c, server_side=True) as tls:
                    seen.append((dict(x[0] for x in tls.getpeercert()["subject"])["commonName"], tls.selected_alpn_protocol()))
            except OSError:
                pass  # the last try, given up

    threading.Thread(target=serve, daemon=True).start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    data = {"client-certificate-data": base64.b64encode(crt.read_bytes()).decode(), "client-key-data": base64.b64encode(key.read_bytes()).decode()}
    login = tmp_path / "login"
    login.write_text("#!/bin/sh\ncat %s\n" % (tmp_path / "credential"))
    login.chmod(0o755)
    (tmp_path / "credential").write_text(json.dumps({"kind": "ExecCredential", "status": {
        "expirationTimestamp": "2020-01-01T00:00:00Z", "clientCertificateData": crt.read_text(), "clientKeyData": key.read_text()}}))
    program = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(login)}}
    for user in ({"client-certificate": "jane.crt", "client-key": str(key)}, data, program):
        seen.clear()
        run(kubeconfig(tmp_path, url, cluster={"certificate-authority": "ca.crt"}, user=user), "raw", "GET", "/version", timeout_ms=1500)
        assert set(seen) == {("jane", "h2")}
    listener.close()


# kubeconfigs that are missing

def test_what_is_missing_is_told_with_what_to_do(tmp_path, server):
    r = run("", "raw", "GET", "/version", environ={"HOME": str(tmp_path)})
    assert r.error == "ENOENT" and f"there is no {tmp_path}/.kube/config" in r.text and "--kubeconfig" in r.text
    r = run(tmp_path / "none", "raw", "GET", "/version")
    assert r.error == "ENOENT" and str(tmp_path / "none") in r.text
    config = kubeconfig(tmp_path, server.url)
    assert run(f"{tmp_path}/none:{config}", "raw", "GET", "/version").rc == 0


# elections

def election(server):
    return server.backend.objects["/apis/coordination.k8s.io/v1/namespaces/default/leases/l"]["spec"]


SHORT = ("1500", "1000", "200")


def test_one_leads_and_gives_back_another_follows(server, config):
    with Held(config, "elect", "default/l", "one", *SHORT) as one:
        one.expect("started")
        with Held(config, "elect", "default/l", "two", *SHORT) as two:
            time.sleep(2)
            one.say("")
            one.expect("leader 1")
            two.say("")
            two.expect("leader 0")
            assert two.lines.empty() and election(server)["holderIdentity"] == "one"
            one.process.stdin.close()
            one.expect("stopped")
            two.expect("started", timeout=3)
            assert election(server)["holderIdentity"] == "two" and election(server)["leaseTransitions"] == 1
    assert not election(server).get("holderIdentity")


def test_a_leader_that_cannot_renew_stops_before_another_starts(server, config, tmp_path):
    with FaultServer(server.backend) as own:
        with Held(kubeconfig(tmp_path, own.url, "own"), "elect", "default/l", "one", *SHORT) as one:
            one.expect("started")
            with Held(config, "elect", "default/l", "two", *SHORT) as two:
                own.fault(Fault(times=1000, hang=20))
                start = time.time()
                one.expect("stopped")
                assert 0.9 < time.time() - start < 2.5
                one.process.stdin.write("\n")
                one.process.stdin.flush()
                one.expect("leader 0")
                two.expect("started")
                assert time.time() - start > 1


def test_a_holder_that_died_is_followed_after_its_lease(server, config):
    one = Held(config, "elect", "default/l", "one", *SHORT)
    one.expect("started")
    one.process.kill()
    start = time.time()
    with Held(config, "elect", "default/l", "two", *SHORT) as two:
        two.expect("started")
        assert 0.8 < time.time() - start < 5


def test_a_lock_is_waited_for_and_its_holder_named(server, config):
    with Held(config, "lock", "default/l", "one", "1000", *SHORT) as one:
        one.until("locked")
        r = run(config, "lock", "default/l", "two", "700", *SHORT)
        assert r.error == "ETIMEDOUT" and "it is held by one" in r.text
    assert run(config, "lock", "default/l", "two", "3000", *SHORT).rc == 0


# events

def events(server):
    return {o["message"]: o for p, o in server.backend.objects.items() if "/events/" in p}


def test_events_are_told_once_and_counted(server, config):
    with Held(config, "events", "default/p", "u1", "50", "hello", "other") as ev:
        time.sleep(1.5)
        ev.process.stdin.close()
        ev.expect("dropped 0")
    told = events(server)
    assert {m: o["count"] for m, o in told.items()} == {"hello": 50, "other": 50}
    hello = told["hello"]
    assert hello["involvedObject"] == {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p", "uid": "u1"}
    assert hello["source"] == {"component": "kvrail-test", "host": "node1"} and {hello["type"], told["other"]["type"]} == {"Warning", "Normal"}
    assert len([r for r in server.requests if "/events" in r.path]) <= 6


def test_a_storm_of_events_becomes_a_few_a_second(server, config):
    with Held(config, "events", "default/p", "u1", "1", *[f"message {i}" for i in range(60)]):
        end = time.time() + 20
        while len(server.asked("POST", "/events")) < 25:
            assert time.time() < end
            time.sleep(0.05)
        before = len(server.asked("POST", "/events"))
        time.sleep(3)
        assert 1 <= len(server.asked("POST", "/events")) - before <= 5


def test_events_wait_for_the_server_and_are_dropped_when_it_refuses(server, config):
    server.fault(Fault(times=2, status=503), path="/events")
    with Held(config, "events", "default/p", "u1", "1", "late") as ev:
        time.sleep(4)
        ev.process.stdin.close()
        ev.expect("dropped 0")
    assert "late" in events(server)
    server.fault(Fault(times=1, status=403), path="/events")
    with Held(config, "events", "default/p", "u1", "1", "never") as ev:
        time.sleep(1)
        ev.process.stdin.close()
        ev.expect("dropped 1")
    assert "never" not in events(server)
