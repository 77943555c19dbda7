# SPDX-License-Identifier: Apache-2.0
"""The control plane that the other tests stand on."""
import pytest

import control


def test_the_api_server_has_the_version_that_was_asked_for_and_kvrails_kinds(control_plane):
    assert control_plane.get("/version")["gitVersion"] == "v1.34.2"
    groups = {g["name"] for g in control_plane.get("/apis")["groups"]}
    assert {"sriovnetwork.openshift.io", "k8s.cni.cncf.io", "whereabouts.cni.cncf.io"} <= groups


def test_users_get_what_rbac_grants_them_and_the_audit_log_tells(control_plane, namespace):
    control_plane.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "reader"}})
    for config in (control_plane.service_account(namespace, "reader"), control_plane.certificate_user("someone", ["readers"])):
        r = control_plane.kubectl("--kubeconfig", config, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
        assert r in (f"system:serviceaccount:{namespace}:reader", "someone")
        r = control_plane.kubectl("--kubeconfig", config, "get", "pods", "-n", namespace, check=False)
        assert r.returncode and "forbidden" in r.stderr.lower(), r
    refused = [e for e in control_plane.audit(verb="list") if e["responseStatus"]["code"] == 403]
    assert {e["user"]["username"] for e in refused} >= {f"system:serviceaccount:{namespace}:reader", "someone"}


def test_a_stopped_api_server_comes_back_with_its_data(boot_plane):
    plane = boot_plane()
    plane.namespace("kept")
    plane.api_server.stop()
    with pytest.raises(OSError):
        plane.get("/api/v1/namespaces/kept")
    plane.api_server.start()
    plane.wait_ready()
    assert plane.get("/api/v1/namespaces/kept")["metadata"]["name"] == "kept"
    plane.api_server.pause()
    with pytest.raises(OSError):
        plane.request("GET", "/readyz", timeout=1)
    plane.api_server.resume()
    plane.wait_ready()


def test_an_unknown_path_is_an_error_with_the_servers_words(control_plane):
    with pytest.raises(control.ApiError, match="404 page not found") as e:
        control_plane.get("/apis/none.such/v1/things")
    assert e.value.status == 404
    assert control_plane.find("/api/v1/namespaces/none-such") is None
