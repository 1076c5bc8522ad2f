"""What the program does by itself, beside the engine: CRDs of a chart, a look at a namespace and at a zone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from components.chart_crds import CRDS, keep_crds
from components.kubernetes_client import METADATA_ONLY
from components.namespace_look import look_at_namespace
from components.router_zone import MissingZoneError, require_zone
from domain.chart_crds import MARK
from tests.components.netbird_account import client_of
from tests.components.netbird_server import running
from tests.domain.test_chart_crds import crd, record

RELEASE = "isthmus-netbird-operator"
DEPLOYED = (
    "/api/v1/namespaces/netbird/secrets?labelSelector=owner%3Dhelm,name%3Disthmus-netbird-operator,status%3Ddeployed"
)


class Cluster:
    """An API server in memory: Helm's records, and objects by their paths."""

    def __init__(self, records: list[dict[str, Any]], objects: Mapping[str, dict[str, Any]] | None = None) -> None:
        self.records = records
        self.objects = dict(objects or {})
        self.applied: list[str] = []

    def request(self, method: str, path: str) -> dict[str, Any]:
        assert (method, path) == ("GET", DEPLOYED)
        return {"items": self.records}

    def get(self, path: str, *, accept: str | None = None) -> dict[str, Any] | None:
        found = copy.deepcopy(self.objects.get(path))
        return {"metadata": found["metadata"]} if found and accept == METADATA_ONLY else found

    def apply(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self.applied.append(path.removeprefix(f"{CRDS}/"))
        self.objects[path] = dict(manifest)
        return self.objects[path]


def kept(cluster: Cluster) -> tuple[str, list[str]]:
    return keep_crds(cluster, "netbird", RELEASE)  # type: ignore[arg-type]


FILES = {"crds/a.yaml": crd("a.netbird.io"), "crds/b.yaml": crd("b.netbird.io")}


class TestCrds:
    def test_those_of_helm_get_their_mark_once(self) -> None:
        cluster = Cluster([record(FILES)], {f"{CRDS}/a.netbird.io": {"metadata": {"name": "a.netbird.io"}}})
        assert kept(cluster) == ("netbird-operator 0.8.0", ["a.netbird.io", "b.netbird.io"])
        assert kept(cluster) == ("netbird-operator 0.8.0", [])
        assert MARK in cluster.objects[f"{CRDS}/a.netbird.io"]["metadata"]["annotations"]

    def test_those_of_another_version_are_applied_and_a_missing_one_comes_back(self) -> None:
        cluster = Cluster([record(FILES)])
        kept(cluster)
        changed = {**FILES, "crds/b.yaml": crd("b.netbird.io", "other.io"), "crds/c.yaml": crd("c.netbird.io")}
        cluster.records = [record(changed, "0.8.1")]
        assert kept(cluster) == ("netbird-operator 0.8.1", ["b.netbird.io", "c.netbird.io"])
        assert cluster.objects[f"{CRDS}/b.netbird.io"]["spec"] == {"group": "other.io"}
        del cluster.objects[f"{CRDS}/a.netbird.io"]
        assert kept(cluster)[1] == ["a.netbird.io"]

    def test_a_kind_that_the_chart_has_no_more_stays_with_its_objects(self) -> None:
        cluster = Cluster([record(FILES)])
        kept(cluster)
        cluster.records = [record({"crds/a.yaml": FILES["crds/a.yaml"]}, "0.9.0")]
        assert kept(cluster)[1] == []
        assert f"{CRDS}/b.netbird.io" in cluster.objects

    def test_of_several_records_the_newest_counts(self) -> None:
        older, newer = record(FILES), record(FILES, "0.8.1")
        older["metadata"]["labels"]["version"], newer["metadata"]["labels"]["version"] = "9", "10"
        assert kept(Cluster([newer, older]))[0] == "netbird-operator 0.8.1"

    def test_without_a_record(self) -> None:
        with pytest.raises(ValueError, match=f"^Helm has no record of a release {RELEASE} in namespace netbird"):
            kept(Cluster([]))


class TestNamespace:
    PATH = "/api/v1/namespaces/netbird"

    @pytest.mark.parametrize(
        ("objects", "records", "theirs"),
        [
            ({}, [], False),
            ({PATH: {"metadata": {"managedFields": [{"manager": "kubectl-create"}]}}}, [], True),
            ({PATH: {"metadata": {"managedFields": [{"manager": "pulumi-kubernetes-1"}]}}}, [record({})], False),
        ],
    )
    def test_whose_it_is(self, objects: dict[str, Any], records: list[dict[str, Any]], theirs: bool) -> None:
        assert look_at_namespace(Cluster(records, objects), "netbird", RELEASE) is theirs  # type: ignore[arg-type]


class TestZone:
    def test_a_zone_that_is_there(self) -> None:
        with running() as netbird:
            netbird.add("/dns/zones", name="mn.routers.isthmus.internal", domain="mn.routers.isthmus.internal")
            require_zone(client_of(netbird), "mn.routers.isthmus.internal")

    def test_a_missing_zone_is_named_with_the_way_out(self) -> None:
        with running() as netbird:
            netbird.add("/dns/zones", name="de.routers.isthmus.internal", domain="de.routers.isthmus.internal")
            with pytest.raises(MissingZoneError) as missing:
                require_zone(client_of(netbird), "mn.routers.isthmus.internal")
        assert str(missing.value) == (
            "NetBird has no DNS zone mn.routers.isthmus.internal, without which its operator does nothing for the "
            "router of this cluster; somebody deleted it. `pulumi up --refresh` sees that and makes it anew"
        )
