"""What a killed `up` leaves in Helm's records, and how the next one gets over it."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
import pytest

from components import helm_records
from components.helm_records import INTERRUPTED, RecoverRelease, deployed_record, remove_records
from tests.components.conftest import Told
from tests.components.recording import KUBECONFIG


class FakeKubernetes:
    """Helm's records as the API lists them."""

    def __init__(self, **records: str) -> None:
        self.records = records
        self.requests: list[tuple[str, str]] = []

    def request(self, method: str, path: str) -> dict[str, Any]:
        self.requests.append((method, path))
        if method == "DELETE":
            del self.records[path.rpartition("/")[2]]
            return {}
        return {"items": [{"metadata": {"name": n, "labels": {"status": s}}} for n, s in self.records.items()]}


class TestHelmRecords:
    def test_before_a_release_is_made_no_record_stays(self) -> None:
        api = FakeKubernetes(v1="deployed", v2="pending-upgrade")
        assert remove_records(api, "kube-system", "isthmus-cilium", None) == ["v1", "v2"]  # type: ignore[arg-type]
        assert api.requests[0] == (
            "GET",
            "/api/v1/namespaces/kube-system/secrets?labelSelector=owner%3Dhelm,name%3Disthmus-cilium",
        )
        assert api.records == {}

    def test_before_an_update_only_interrupted_ones_go(self) -> None:
        api = FakeKubernetes(v1="superseded", v2="deployed", v3="pending-upgrade", v4="failed")
        removed = remove_records(api, "kube-system", "isthmus-cilium", INTERRUPTED)  # type: ignore[arg-type]
        assert removed == ["v3"]
        assert list(api.records) == ["v1", "v2", "v4"]


EXEC = KUBECONFIG.replace(
    "client-certificate-data: Y2VydA==, client-key-data: c2VjcmV0LWtleQ==", "exec: {command: login}"
)


@pytest.mark.usefixtures("hooks")
class TestHooks:
    """What runs before the engine makes or changes the release."""

    def removed(self, monkeypatch: pytest.MonkeyPatch, which: str, **records: str) -> list[str]:
        """The records that are left afterwards."""
        api = FakeKubernetes(**records)
        monkeypatch.setattr(helm_records, "KubernetesClient", lambda kubeconfig, context: api)

        async def body() -> None:
            recover = RecoverRelease("isthmus-cilium", "kube-system", pulumi.Output.secret(KUBECONFIG), None)
            binding = recover.binding("cilium")
            assert not binding.before_delete
            (hook,) = getattr(binding, which) or []
            assert hook.name == f"cilium-{which.replace('_', '-')}"
            await hook.callback(pulumi.ResourceHookArgs(urn="u", id="", name="cilium", type="t"))

        asyncio.run(body())
        return list(api.records)

    def test_before_it_is_made_every_record_goes(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        assert self.removed(monkeypatch, "before_create", v1="deployed", v2="pending-install") == []
        assert told.info == ["isthmus-cilium: took over from an interrupted run (v1, v2)"]

    def test_before_it_is_changed_interrupted_ones_go(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        assert self.removed(monkeypatch, "before_update", v1="deployed", v2="pending-rollback") == ["v1"]
        assert told.info == ["isthmus-cilium: took over from an interrupted run (v2)"]

    def test_where_nothing_was_interrupted_nothing_is_told(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        assert self.removed(monkeypatch, "before_update", v1="superseded", v2="deployed") == ["v1", "v2"]
        assert told.info == []

    @pytest.mark.parametrize("kubeconfig", ["", EXEC], ids=["none", "login by a program"])
    def test_a_cluster_that_can_not_be_asked_holds_up_nothing(self, kubeconfig: str, told: Told) -> None:
        async def body() -> None:
            recover = RecoverRelease("isthmus-cilium", "kube-system", pulumi.Output.secret(kubeconfig), None)
            assert await recover.client() is None
            (hook,) = recover.binding("cilium").before_create or []
            await hook.callback(pulumi.ResourceHookArgs(urn="u", id="", name="c", type="t"))  # type: ignore[union-attr, misc]

        asyncio.run(body())
        assert told.info == []


def test_the_deployed_record_of_the_highest_revision() -> None:
    """By number: 10 comes after 9."""

    class Api:
        def __init__(self, *versions: str) -> None:
            self.items = [{"metadata": {"name": version, "labels": {"version": version}}} for version in versions]

        def request(self, method: str, path: str) -> dict[str, Any]:
            assert (method, path.partition("?")[2]) == (
                "GET",
                "labelSelector=owner%3Dhelm,name%3Disthmus-cilium,status%3Ddeployed",
            )
            return {"items": self.items or None}

    found = deployed_record(Api("9", "10", "2"), "kube-system", "isthmus-cilium")  # type: ignore[arg-type]
    assert found is not None
    assert found["metadata"]["name"] == "10"
    assert deployed_record(Api(), "kube-system", "isthmus-cilium") is None  # type: ignore[arg-type]
