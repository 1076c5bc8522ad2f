"""CRDs out of Helm's record of a release."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from domain.chart_crds import MARK, Crd, crds_of_record

CHART = Path(__file__).parents[2] / "lab" / "standins" / "netbird_operator" / "chart"


def record(files: Mapping[str, bytes], version: str = "0.8.0") -> dict[str, Any]:
    """The Secret that Helm 3 keeps of a release."""
    listed = [{"name": name, "data": base64.b64encode(data).decode()} for name, data in files.items()]
    release = {"name": "r", "chart": {"metadata": {"name": "netbird-operator", "version": version}, "files": listed}}
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    metadata = {"name": "sh.helm.release.v1.r.v2", "labels": {"owner": "helm", "status": "deployed", "version": "2"}}
    return {"metadata": metadata, "data": {"release": base64.b64encode(packed).decode()}}


def crd(name: str, group: str = "netbird.io") -> bytes:
    """A file with one definition, as controller-gen writes it."""
    manifest = {"kind": "CustomResourceDefinition", "metadata": {"name": name}, "spec": {"group": group}}
    return f"---\n{json.dumps(manifest)}\n".encode()


def test_all_kinds_of_the_chart() -> None:
    files = {f"crds/{path.name}": path.read_bytes() for path in CHART.glob("crds/*.yaml")}
    chart, found = crds_of_record(record({**files, "README.md": b"crds/ are kinds"}))
    assert chart == "netbird-operator 0.8.0"
    assert [definition.name.removesuffix(".netbird.io") for definition in found] == [
        *("clusterproxies", "groups", "nbgroups", "nbpolicies", "nbresources", "nbroutingpeers", "nbsetupkeys"),
        *("networkegresses", "networkresources", "networkrouters", "setupkeys", "sidecarprofiles"),
    ]


def test_what_lies_elsewhere_or_is_something_else_is_no_crd() -> None:
    files = {
        "crds/two.yaml": crd("a.netbird.io") + crd("b.netbird.io"),
        "crds/notes.txt": crd("c.netbird.io"),
        "files/crds/d.yaml": crd("d.netbird.io"),
        "crds/other.yml": b"---\n---\nkind: ConfigMap\nmetadata: {name: e}\n",
    }
    assert [definition.name for definition in crds_of_record(record(files))[1]] == ["a.netbird.io", "b.netbird.io"]


def test_the_mark_is_of_the_definition() -> None:
    definition, same, other = (
        crds_of_record(record({"crds/a.yaml": crd("a", group)}))[1][0] for group in ("x", "x", "y")
    )
    assert definition.mark == same.mark != other.mark


def test_the_mark_stands_beside_the_annotations_that_are_there() -> None:
    manifest = {"kind": "CustomResourceDefinition", "metadata": {"name": "a", "annotations": {"by": "controller-gen"}}}
    found = Crd("a", manifest)
    assert found.marked()["metadata"]["annotations"] == {"by": "controller-gen", MARK: found.mark}
    assert manifest["metadata"] == {"name": "a", "annotations": {"by": "controller-gen"}}


@pytest.mark.parametrize("text", ["", "bm90IGd6aXA=", base64.b64encode(gzip.compress(b"{}", mtime=0)).decode()])
def test_what_is_no_record(text: str) -> None:
    secret = {"data": {"release": base64.b64encode(text.encode()).decode()}}
    with pytest.raises(ValueError, match=r"^it is no record of a release of Helm 3 \(\w+\)$"):
        crds_of_record(secret)
