# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes control plane as plain processes on loopback, in a temporary directory.

    with ControlPlane() as plane:                       # etcd and kube-apiserver, up in about 5 s
        plane.kubectl("apply", "-f", "-", input=text)   # as admin
        plane.get("/api/v1/nodes")["items"]             # the API by hand: get, post, put, patch, delete
        path = plane.kubeconfig()                       # for admin
        path = plane.service_account("kvrail", "agent") # for a ServiceAccount that exists, by a bound token
        path = plane.certificate_user("alice", ["dev"]) # for a client certificate
        plane.api_server.stop(); plane.api_server.start()   # the same port and data
        plane.audit()                                   # what was asked of the API server, as a list of audit events

With scheduling=True the scheduler and the controller manager run beside them and pods need their ServiceAccount, as in a
cluster; without, a pod may be created in any namespace and stays as it is.
What was started ends with stop(), and dies with the process that started it.
"""
import base64
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

from lab.guest import DIES_WITH_PARENT

TREE = pathlib.Path(__file__).resolve().parents[2]
LOGS = TREE / "build/cluster/logs"
SERVICES = "10.96.0.0/16"
SERVICE_HOST = "10.96.0.1"  # the API server's address in pods: nodes.py sends it there
GUESTS_HOST = "10.0.2.2"  # this machine's loopback, seen from a guest (QEMU's user network)
PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
SCHEDULING = ("kube-scheduler", "kube-controller-manager")
ISSUER = "https://kubernetes.default.svc"

AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


class ClusterError(Exception):
    pass


class ApiError(ClusterError):
    """A refusal of the API server: status is the HTTP code, body the Status object."""

    def __init__(self, method, path, status, body):
        self.status, self.body = status, body
        message = body.get("message") if isinstance(body, dict) else body
        super().__init__(f"{method} {path}: {status} {message}")


def assets():
    """The folder of the programs, or None: what tools/deps-cluster would build or was given."""
    r = subprocess.run([TREE / "tools/deps-cluster", "folder"], capture_output=True, text=True)
    return pathlib.Path(r.stdout.strip()) if r.returncode == 0 else None


def missing(programs=PROGRAMS):
    """Why a cluster cannot run here, or None."""
    folder = assets()
    lacks = [p for p in programs if not os.access(folder / p, os.X_OK)]
    if lacks:
        return f"{folder} lacks {' '.join(lacks)}: run 'make deps-cluster'"
    if not shutil.which("openssl"):
        return "the cluster needs openssl: run 'make deps'"
    return None


def free_ports(count):
    """Ports that nobody listens on now; all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Daemon:
    """A program that runs until it is stopped; its output goes to a log file. May be started again."""

    def __init__(self, name, argv, log, environment=None):
        self.name, self.argv, self.log, self.environment = name, [str(a) for a in argv], log, environment
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*DIES_WITH_PARENT, *self.argv], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            env={**os.environ, **(self.environment or {})})
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, lines=15):
        return f"--- the end of {self.log}\n" + "\n".join(
            self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, number=signal.SIGTERM, timeout=15):
        """Ends the program; SIGKILL when it takes longer than @timeout."""
        if not self.alive():
            return
        self.process.send_signal(number)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self):
        self.stop(signal.SIGKILL)

    def pause(self):
        """The program stands still, its connections open, until resume()."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


class Authority:
    """A certificate authority made with openssl, in a folder."""

    def __init__(self, folder, name="kvrail-test"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = folder / "ca.key", folder / "ca.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                      "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-keyout", self.key, "-out", self.certificate)

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def issue(self, name, subject, hosts=(), days=30):
        """(certificate, key) as paths; @hosts are addresses and names that a server is known by."""
        key, request, certificate = (self.folder / f"{name}.{e}" for e in ("key", "csr", "crt"))
        alternatives = ",".join(("IP:" if re.fullmatch(r"[\d.]+|[\da-f:]*:[\da-f:]*", h) else "DNS:") + h for h in hosts)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n"
                              + (f"subjectAltName={alternatives}\n" if alternatives else ""))
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-subj", subject, "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                      "-days", days, "-extfile", extensions, "-out", certificate)
        return certificate, key


class ControlPlane:
    def __init__(self, scheduling=False, service_accounts=None, nodes=("node1", "node2"), api_server_arguments=(),
                 egress=None, name="plane"):
        """@service_accounts  whether a pod needs its ServiceAccount to exist; default: as @scheduling
        @nodes               the nodes that get a kubeconfig of their own: kubeconfig("node:NAME")
        @egress              text of an EgressSelectorConfiguration: how the API server reaches nodes and services
        @name                a prefix of the log files under build/cluster/logs"""
        problem = missing(PROGRAMS + SCHEDULING if scheduling else PROGRAMS)
        if problem:
            raise ClusterError(problem)
        self.bin, self.scheduling, self.nodes, self.name = assets(), scheduling, list(nodes), name
        self.service_accounts = scheduling if service_accounts is None else service_accounts
        self.api_server_arguments, self.egress = list(api_server_arguments), egress
        self.dir = None
        self.daemons = []

    # -- life ------------------------------------------------------------------------------------------------------
    def start(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kvrail-plane-"))
        try:
            self.authority = Authority(self.dir / "pki")
            self._write_users()
            for attempt in range(3):  # another process may take a free port before we do
                if self._start_api():
                    break
            else:
                raise ClusterError("the API server does not start\n" + self.etcd.tail() + "\n" + self.api_server.tail())
            if self.scheduling:
                self._start_scheduling()
        except BaseException:
            self.stop()
            raise
        return self

    def _daemon(self, program, *arguments):
        log = LOGS / f"{self.name}-{program}.log"
        log.unlink(missing_ok=True)
        d = Daemon(program, [self.bin / program, *arguments], log)
        self.daemons.append(d)
        return d.start()

    def _start_api(self):
        for d in self.daemons:
            d.kill()
        self.daemons = []
        client, peer, self.port = free_ports(3)
        self.url = f"https://127.0.0.1:{self.port}"
        self._start_etcd(client, peer)
        pki = self.dir / "pki"
        certificate, key = self.authority.issue("kube-apiserver", "/CN=kube-apiserver", [
            "127.0.0.1", GUESTS_HOST, SERVICE_HOST, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"])
        Authority._openssl("genrsa", "-out", pki / "accounts.key", "2048")
        (self.dir / "audit.yaml").write_text(AUDIT_POLICY)
        if self.egress:
            (self.dir / "egress.yaml").write_text(self.egress)
        self.audit_log = LOGS / f"{self.name}-audit.log"  # kept, as the other logs are
        self.audit_log.unlink(missing_ok=True)
        self.api_server = self._daemon(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1",
            f"--secure-port={self.port}", f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority.certificate}", f"--token-auth-file={self.dir}/tokens.csv",
            "--authorization-mode=Node,RBAC", f"--service-cluster-ip-range={SERVICES}", "--allow-privileged=true",
            f"--service-account-issuer={ISSUER}", f"--service-account-key-file={pki}/accounts.key",
            f"--service-account-signing-key-file={pki}/accounts.key", "--endpoint-reconciler-type=none",
            f"--audit-policy-file={self.dir}/audit.yaml", f"--audit-log-path={self.audit_log}", "--audit-log-maxsize=10000",
            "--shutdown-delay-duration=0s", "--profiling=false", "--kubelet-preferred-address-types=InternalIP",
            *([f"--egress-selector-config-file={self.dir}/egress.yaml"] if self.egress else []),
            *([] if self.service_accounts else ["--disable-admission-plugins=ServiceAccount"]), *self.api_server_arguments)
        return self.wait_ready(must=False)

    def _start_etcd(self, client, peer):
        self.etcd = self._daemon(
            "etcd", "--name=etcd", f"--data-dir={self.dir}/etcd", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=etcd=http://127.0.0.1:{peer}")

    def wait_ready(self, timeout=90, must=True):
        """Until the API server says it is ready; False, or with @must an error, when it ended or stays silent."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.etcd.alive() and self.api_server.alive():
            try:
                if self.request("GET", "/readyz", raw=True)[0] == 200 and self.get("/api/v1/namespaces/default"):
                    return True
            except (OSError, http.client.HTTPException, ApiError):
                pass
            time.sleep(0.1)
        if must:
            raise ClusterError(f"the API server is not ready\n{self.api_server.tail()}")
        return False

    def _start_scheduling(self):
        quiet = ["--leader-elect=false", "--secure-port=0", "--profiling=false"]
        self.scheduler = self._daemon("kube-scheduler", f"--kubeconfig={self.kubeconfig('scheduler')}", *quiet)
        # without credentials of its own for each controller it may not remove the taint of nodes that became ready
        self.controller_manager = self._daemon(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig('controller-manager')}", *quiet,
            "--use-service-account-credentials=true", f"--service-account-private-key-file={self.dir}/pki/accounts.key",
            f"--root-ca-file={self.authority.certificate}", "--node-monitor-grace-period=40s",
            f"--cluster-signing-cert-file={self.authority.certificate}", f"--cluster-signing-key-file={self.authority.key}")

    def stop(self):
        for d in reversed(self.daemons):
            d.stop(timeout=5)
        self.daemons = []
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # -- users -----------------------------------------------------------------------------------------------------
    def _write_users(self):
        self.users = {"admin": ("admin", ["system:masters"]), "scheduler": ("system:kube-scheduler", []),
                      "controller-manager": ("system:kube-controller-manager", []),
                      **{f"node:{n}": (f"system:node:{n}", ["system:nodes"]) for n in self.nodes}}
        self.tokens = {user: base64.urlsafe_b64encode(os.urandom(18)).decode() for user in self.users}
        lines = [f'{self.tokens[u]},{name},{u},"{",".join(groups)}"' for u, (name, groups) in self.users.items()]
        path = self.dir / "tokens.csv"
        path.touch(0o600)
        path.write_text("\n".join(lines) + "\n")

    def kubeconfig(self, user="admin", host="127.0.0.1", token=None, certificate=None, namespace=None):
        """Path of a kubeconfig for a user: admin, scheduler, controller-manager or node:NAME, else one that brings @token or
        @certificate (certificate, key). @host: GUESTS_HOST for use in a guest."""
        path = self.dir / f"{re.sub('[^a-z0-9-]', '-', user)}-{host}.kubeconfig"
        if certificate:
            credential = {"client-certificate": str(certificate[0]), "client-key": str(certificate[1])}
        else:
            credential = {"token": token or self.tokens[user]}
        context = {"cluster": "test", "user": user, **({"namespace": namespace} if namespace else {})}
        path.touch(0o600)
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": f"https://{host}:{self.port}",
                "certificate-authority-data": base64.b64encode(self.authority.certificate.read_bytes()).decode()}}],
            "users": [{"name": user, "user": credential}],
            "contexts": [{"name": "test", "context": context}]}, indent=1))
        return path

    def service_account(self, namespace, name, host="127.0.0.1", seconds=3600 * 4):
        """Path of a kubeconfig for a ServiceAccount, which must exist."""
        return self.kubeconfig(f"{namespace}-{name}", host, token=self.token(namespace, name, seconds))

    def token(self, namespace, name, seconds=3600 * 4):
        r = self.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}})
        return r["status"]["token"]

    def certificate_user(self, name, groups=(), host="127.0.0.1"):
        """Path of a kubeconfig for a user who is known by a client certificate."""
        subject = "".join(f"/O={g}" for g in groups) + f"/CN={name}"
        return self.kubeconfig(f"certificate-{name}", host, certificate=self.authority.issue(f"user-{name}", subject))

    # -- the API ---------------------------------------------------------------------------------------------------
    def request(self, method, path, body=None, content_type="application/json", user="admin", raw=False, timeout=30):
        """One request; (status, body) with @raw, else the decoded body or an ApiError."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=timeout)
        try:
            headers = {"Authorization": f"Bearer {self.tokens[user]}", "Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = content_type
                body = body if isinstance(body, (str, bytes)) else json.dumps(body)
            c.request(method, path, body, headers)
            r = c.getresponse()
            data = r.read()
        finally:
            c.close()
        if raw:
            return r.status, data
        try:
            data = json.loads(data)
        except ValueError:
            data = data.decode(errors="replace")
        if r.status >= 300:
            raise ApiError(method, path, r.status, data)
        return data

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def find(self, path):
        """The object, or None when there is none."""
        try:
            return self.get(path)
        except ApiError as e:
            if e.status == 404:
                return None
            raise

    def post(self, path, body, **options):
        return self.request("POST", path, body, **options)

    def put(self, path, body, **options):
        return self.request("PUT", path, body, **options)

    def patch(self, path, body, content_type="application/merge-patch+json", **options):
        return self.request("PATCH", path, body, content_type, **options)

    def delete(self, path, body=None, **options):
        return self.request("DELETE", path, body, **options)

    def kubectl(self, *arguments, input=None, check=True, timeout=120):
        """Runs kubectl as admin; returns its standard output, or with check=False the CompletedProcess."""
        r = subprocess.run([str(self.bin / "kubectl"), "--kubeconfig", str(self.kubeconfig()), *map(str, arguments)],
                           input=input, capture_output=True, text=True, timeout=timeout)
        if not check:
            return r
        if r.returncode:
            raise ClusterError(f"kubectl {' '.join(map(str, arguments))}: {r.stderr}")
        return r.stdout

    def apply(self, text):
        """Applies manifests (text, or objects), server-side."""
        if not isinstance(text, str):
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": text if isinstance(text, list) else [text]})
        return self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)

    def install_crds(self):
        """The CRDs that kvrail ships, established."""
        crds = TREE / "deploy/crds"
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)

    def namespace(self, name):
        """A namespace, made when it is not there."""
        try:
            self.post("/api/v1/namespaces", {"metadata": {"name": name}})
        except ApiError as e:
            if e.status != 409:
                raise
        return name

    def audit(self, **wanted):
        """Audit events so far, oldest first, each a dict; @wanted: values of its top level that it must have. Who was not let in is user ""."""
        events = [json.loads(line) for line in self.audit_log.read_text().splitlines() if line.endswith("}")]
        for e in events:
            e["user"].setdefault("username", "")
        return [e for e in events if all(e.get(k) == v for k, v in wanted.items())]

    def wait_for(self, condition, what, timeout=60, every=0.5):
        """Until @condition() is true; returns its value. Errors of the API count as not yet."""
        end = time.monotonic() + timeout
        error = None
        while True:
            try:
                value, error = condition(), None
                if value:
                    return value
            except (ApiError, OSError) as e:
                error = e
            if time.monotonic() > end:
                raise ClusterError(f"not within {timeout} s: {what}" + (f" ({error})" if error else ""))
            time.sleep(every)
