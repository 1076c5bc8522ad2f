"""The looks at ``coredns-custom`` before keys of ours are put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components import foreign_keys
from components.foreign_keys import ForeignKeys, KeysTakenError
from components.kubernetes_client import KubernetesError, UnsupportedKubeconfigError
from tests.components.conftest import Told
from tests.components.recording import KUBECONFIG
from tests.domain.test_foreign_keys import OURS, OWN, PEER, live

THEIRS = live({OWN: "astring-de.internal:53 {\n    errors\n}\n"}, kubectl_edit=[OWN])
BESIDE = live({"lab.server": "astring-de.internal:53 {\n    errors\n}\n"}, kubectl_edit=["lab.server"])


class Cluster:
    """The API server: the ConfigMap, None where there is none, or the error with which it refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, there: dict[str, Any] | Exception | None) -> None:
        self.asked: list[str] = []
        cluster = self

        class Client:
            def __init__(self, kubeconfig: str, context: str | None) -> None:
                assert (kubeconfig, context) == (KUBECONFIG, "default")
                if isinstance(there, UnsupportedKubeconfigError):
                    raise there

            def get(self, path: str) -> dict[str, Any] | None:
                cluster.asked.append(path)
                if isinstance(there, Exception):
                    raise there
                return there

        monkeypatch.setattr(foreign_keys, "KubernetesClient", Client)


def before(known: Mapping[str, str] | None, kubeconfig: str = KUBECONFIG) -> None:
    """The look before the keys are written; ``known`` are those in the state, None before the first time."""

    async def look() -> None:
        binding = ForeignKeys(pulumi.Output.from_input(kubeconfig), "default").binding("dns-zones")
        (hook,) = binding.before_create or []
        assert binding.before_update == [hook]
        assert not binding.before_delete
        assert (hook.name, hook.opts.on_dry_run) == ("dns-zones-foreign-keys", True)  # type: ignore[union-attr]
        old = None if known is None else {"data": known}
        args = pulumi.ResourceHookArgs(
            urn="u", id="", name="dns-zones", type="t", new_inputs={"data": OURS}, old_inputs=old
        )
        await hook.callback(args)  # type: ignore[union-attr, misc]

    asyncio.run(look())


@pytest.fixture
def preview(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(foreign_keys, "why_unreachable", lambda host, port: None)


@pytest.mark.usefixtures("hooks")
class TestBefore:
    def test_nothing_is_there(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        cluster = Cluster(monkeypatch, None)
        before(None)
        assert cluster.asked == ["/api/v1/namespaces/kube-system/configmaps/coredns-custom"]
        assert (told.info, told.warn) == ([], [])

    def test_a_key_of_others_is_not_overwritten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Cluster(monkeypatch, THEIRS)
        with pytest.raises(KeysTakenError) as refusal:
            before(None)
        assert str(refusal.value).startswith(f"kube-system/coredns-custom: the key {OWN} is there already, ")
        assert "kubectl-edit" in str(refusal.value)

    def test_a_key_that_was_ours_before_is_written_again(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        Cluster(monkeypatch, live({OWN: "changed by hand"}, kubectl_edit=[OWN]))
        before(OURS)
        assert told.warn == []

    def test_a_zone_that_others_serve_is_not_served_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Cluster(monkeypatch, BESIDE)
        with pytest.raises(KeysTakenError, match=r"lab\.server"):
            before(None)

    @pytest.mark.usefixtures("preview")
    def test_a_preview_only_says_what_an_up_would_do(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        Cluster(monkeypatch, THEIRS)
        before(None)
        (text,) = told.warn
        assert text.startswith(f"an `up` would end here: kube-system/coredns-custom: the key {OWN} is there already, ")

    def test_keys_that_nobody_could_look_at_are_named(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        Cluster(monkeypatch, KubernetesError("no answer"))
        before({OWN: OURS[OWN]})
        (text,) = told.warn
        assert text == (
            "kube-system/coredns-custom can't be looked at (no answer); these keys are written whoever has made them: "
            f"{PEER}"
        )

    def test_nor_are_those_that_are_ours(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        Cluster(monkeypatch, UnsupportedKubeconfigError("it runs a program"))
        before(OURS)
        assert told.warn == []

    @pytest.mark.usefixtures("preview")
    def test_a_preview_without_the_cluster_says_nothing(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        cluster = Cluster(monkeypatch, THEIRS)
        monkeypatch.setattr(foreign_keys, "why_unreachable", lambda host, port: f"{host} refused")
        before(None)
        assert (cluster.asked, told.warn) == ([], [])

    def test_before_there_is_a_kubeconfig_nobody_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster = Cluster(monkeypatch, THEIRS)
        before(None, kubeconfig="")
        assert cluster.asked == []


class TestWarn:
    def warned(self) -> None:
        async def look() -> None:
            others = ForeignKeys(pulumi.Output.from_input(KUBECONFIG), "default")
            others.warn(OURS)
            while rest := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(rest)

        asyncio.run(look())

    def test_of_a_zone_that_is_served_twice(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        Cluster(monkeypatch, BESIDE)
        self.warned()
        (text,) = told.warn
        assert "lab.server" in text

    def test_of_nothing_where_ours_stand_alone(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        cluster = Cluster(monkeypatch, live(dict(OURS)))
        self.warned()
        assert (len(cluster.asked), told.warn) == (1, [])

    def test_of_nothing_that_can_not_be_looked_at(self, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
        cluster = Cluster(monkeypatch, KubernetesError("no answer"))
        self.warned()
        assert (len(cluster.asked), told.warn) == (1, [])
