"""Whose a namespace is."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
import pytest

from components import namespace_look
from components.kubernetes_client import KubernetesError, UnsupportedKubeconfigError
from components.namespace_look import look_at_namespace, namespace_stays
from tests.components.conftest import Told
from tests.components.test_chart_crds import RELEASE, Cluster
from tests.domain.test_chart_crds import record


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


class TestStays:
    """Whether it has to stay when the stack goes, as the program asks."""

    @pytest.fixture
    def preview(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)

    def stays(self, monkeypatch: pytest.MonkeyPatch, there: Cluster | Exception) -> bool:
        class Client:
            def __init__(self, kubeconfig: str, context: str | None) -> None:
                assert (kubeconfig, context) == ("the kubeconfig", "mn")
                if isinstance(there, UnsupportedKubeconfigError):
                    raise there

            def get(self, path: str) -> Any:
                if isinstance(there, Exception):
                    raise there
                return there.get(path)

            def request(self, method: str, path: str) -> Any:
                assert isinstance(there, Cluster)
                return there.request(method, path)

        monkeypatch.setattr(namespace_look, "KubernetesClient", Client)

        async def body() -> bool:
            return await namespace_stays(pulumi.Output.secret("the kubeconfig"), "mn", "netbird", RELEASE)

        return asyncio.run(body())

    def test_in_a_cluster_of_ours_it_goes(self) -> None:
        assert asyncio.run(namespace_stays(None, None, "netbird", RELEASE)) is False

    def test_one_of_others_stays_which_is_told(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        path = "/api/v1/namespaces/netbird"
        there = Cluster([], {path: {"metadata": {"managedFields": [{"manager": "kubectl-create"}]}}})
        assert self.stays(monkeypatch, there)
        assert told.info == ["namespace netbird: others made it; this stack uses it, and leaves it when it goes"]

    def test_one_that_is_not_there_will_be_ours(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        assert not self.stays(monkeypatch, Cluster([]))
        assert told.info == []

    def test_what_the_program_can_not_log_in_to_stays(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        assert self.stays(monkeypatch, UnsupportedKubeconfigError("it runs a program"))
        (text,) = told.info
        assert text.startswith("namespace netbird: the program can't log in with this kubeconfig to see who made it, ")

    def test_one_that_an_up_can_not_look_at_stays(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        assert self.stays(monkeypatch, KubernetesError("no answer"))
        assert told.info == []

    @pytest.mark.usefixtures("preview")
    def test_a_preview_shows_no_difference_because_of_it(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        assert not self.stays(monkeypatch, KubernetesError("no answer"))
        assert told.info == []
