"""The CRDs of a chart, kept at the version of its release."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest

from components.chart_crds import CRDS, CrdsNotKeptError, keep_crds, with_crds
from components.helm_records import RecoverRelease
from components.kubernetes_client import METADATA_ONLY
from domain.chart_crds import MARK
from tests.components.conftest import Told
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


class TestWithCrds:
    """The release as its dependents wait for it."""

    def after(self, cluster: Cluster | None, *, there: bool = True) -> tuple[object, object]:
        """The release, and what its dependents get."""

        class Recover:
            release, namespace = RELEASE, "netbird"

            async def client(self) -> Cluster | None:
                return cluster

        async def body() -> tuple[object, object]:
            release = SimpleNamespace(id=pulumi.Output.from_input("1" if there else None))
            recover: Any = Recover()
            given: Any = with_crds(cast("pulumi.CustomResource", release), recover)
            return release, await given

        return asyncio.run(body())

    def test_what_was_brought_up_to_date_is_told(self, told: Told) -> None:
        release, given = self.after(Cluster([record(FILES)]))
        assert given is release
        assert told.info == [f"{RELEASE}: CRDs brought to chart netbird-operator 0.8.0: a, b"]

    def test_what_is_in_order_is_not(self, told: Told) -> None:
        cluster = Cluster([record(FILES)])
        kept(cluster)
        self.after(cluster)
        assert told.info == []

    def test_what_could_not_be_done_ends_the_up_with_a_way(self) -> None:
        with pytest.raises(CrdsNotKeptError) as refusal:
            self.after(Cluster([]))
        assert str(refusal.value) == (
            f"{RELEASE}: the CRDs of its chart were not brought up to date: Helm has no record of a release {RELEASE} "
            "in namespace netbird that is deployed; the next `pulumi up` tries it again"
        )

    def test_where_the_program_can_not_log_in_the_person_is_told_how(self, told: Told) -> None:
        self.after(None)
        (text,) = told.info
        assert text.endswith("`kubectl apply --server-side --force-conflicts -f crds/`")

    def test_a_release_that_is_left_out_is_not_looked_at(self, told: Told) -> None:
        cluster = Cluster([record(FILES)])
        self.after(cluster, there=False)
        assert (cluster.applied, told.info) == ([], [])

    def test_a_preview_does_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        release, recover = cast("pulumi.CustomResource", object()), cast("RecoverRelease", object())
        assert with_crds(release, None) is release
        monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
        assert with_crds(release, recover) is release
