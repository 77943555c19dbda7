# SPDX-License-Identifier: Apache-2.0
"""The CRDs under deploy/crds against those of the projects whose objects they are, field by field."""
import os
import pathlib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
UPSTREAM = pathlib.Path(os.environ.get("KVRAIL_UPSTREAM", ROOT.parent / "shared/upstream")) / "crds"
ALL = {d["metadata"]["name"]: d for d in (yaml.safe_load(p.read_text()) for p in sorted((ROOT / "deploy/crds").glob("*.yaml")))}
OURS = {name: d for name, d in ALL.items() if d["spec"]["group"] != "kvrail.io"}

# What may differ, each with its reason. Everything else must be equal, in both directions.
ALLOWED = {
    # Multus names no list kind; the API server then makes the same one
    ("network-attachment-definitions.k8s.cni.cncf.io", "names.listKind"),
}


def upstream():
    docs = [d for p in sorted(UPSTREAM.glob("*.yaml")) for d in yaml.safe_load_all(p.read_text()) if d]
    return {d["metadata"]["name"]: d for d in docs}


def facts(schema, path, out):
    """Everything about a field that decides what an API server takes, by its path; no descriptions."""
    for key, value in schema.items():
        if key in ("description", "properties", "items", "additionalProperties"):
            continue
        out[f"{path}:{key}"] = sorted(value) if key == "required" else value
    for name, child in schema.get("properties", {}).items():
        facts(child, f"{path}.{name}", out)
    if "items" in schema:
        facts(schema["items"], f"{path}[]", out)
    if isinstance(schema.get("additionalProperties"), dict):
        facts(schema["additionalProperties"], f"{path}{{}}", out)
    return out


def crd_facts(crd):
    spec = crd["spec"]
    out = {"group": spec["group"], "scope": spec["scope"], "versions": [v["name"] for v in spec["versions"]]}
    out.update({f"names.{k}": sorted(v) if isinstance(v, list) else v for k, v in spec["names"].items()})
    for v in spec["versions"]:
        at = f"{v['name']}"
        out[f"{at}:served"], out[f"{at}:storage"] = v["served"], v["storage"]
        out[f"{at}:subresources"] = v.get("subresources", {})
        out[f"{at}:columns"] = [(c["name"], c["type"], c["jsonPath"]) for c in v.get("additionalPrinterColumns", [])]
        facts(v["schema"]["openAPIV3Schema"], at, out)
    return out


@pytest.mark.skipif(not UPSTREAM.is_dir(), reason=f"no upstream CRDs at {UPSTREAM}; set KVRAIL_UPSTREAM")
def test_every_upstream_kind_has_a_crd():
    assert sorted(OURS) == sorted(upstream())


@pytest.mark.skipif(not UPSTREAM.is_dir(), reason=f"no upstream CRDs at {UPSTREAM}; set KVRAIL_UPSTREAM")
@pytest.mark.parametrize("name", sorted(OURS))
def test_schema_is_upstreams_field_by_field(name):
    ours, theirs = crd_facts(OURS[name]), crd_facts(upstream()[name])
    missing = object()
    differ = {k: (ours.get(k, missing), theirs.get(k, missing)) for k in sorted({*ours, *theirs})
              if ours.get(k, missing) != theirs.get(k, missing) and (name, k) not in ALLOWED}
    assert not differ, "\n".join(f"{k}: ours {o if o is not missing else 'absent'}, theirs {t if t is not missing else 'absent'}"
                                 for k, (o, t) in differ.items())
    assert len(theirs) > 10


def test_every_field_is_described():
    def undescribed(schema, path):
        for name, child in schema.get("properties", {}).items():
            if "description" not in child and (path, name) != ("", "metadata"):
                yield f"{path}.{name}"
            yield from undescribed(child, f"{path}.{name}")
        if "items" in schema:
            yield from undescribed(schema["items"], f"{path}[]")

    for name, crd in ALL.items():
        assert not list(undescribed({"properties": crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].get("properties", {})}, "spec")), name
