"""When a cluster that somebody else runs is looked at, and what comes of it. With an API server:
tests/engine/test_given_cluster.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components import given_cluster_look
from components.configuration import StackConfiguration
from components.given_cluster_look import look_at_cluster, refuse_unfit_cluster
from components.kubernetes_client import KubernetesError, UnsupportedKubeconfigError
from domain.fleet import parse_fleet
from domain.places.on_premise.given_cluster import GivenCluster
from domain.places.outputs import RAISED_WITH
from tests.domain.samples import DE, GIVEN, MN, settings_of, text

FITS = GivenCluster([{"metadata": {"name": "worker-b"}}], [])
OTHER = GivenCluster([{"metadata": {"name": "one"}}], [{"metadata": {"name": "kube-proxy"}}])


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """With which kubeconfig and context it was looked; each look finds a cluster that does not fit."""
    seen: list[tuple[str, str]] = []

    def look(kubeconfig: str, context: str) -> GivenCluster:
        seen.append((kubeconfig, context))
        return OTHER

    monkeypatch.setattr(given_cluster_look, "look_at_cluster", look)
    return seen


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, *_: told.append(message))
    monkeypatch.setattr(pulumi.log, "debug", lambda message, *_: None)
    return told


def look(stack: str = "mn", config: Mapping[str, Any] = GIVEN, outputs: Mapping[str, Any] | None = None) -> None:
    fleet = parse_fleet({"de": text(DE), "mn": text(GIVEN)})
    values = {"isthmus:kubeconfig": "kubeconfig"}
    asyncio.run(refuse_unfit_cluster(StackConfiguration(settings_of(stack, config), fleet, values, outputs or {})))


def test_what_does_not_fit_is_refused_with_the_line_of_the_file(
    looked: list[tuple[str, str]], warned: list[str]
) -> None:
    with pytest.raises(pulumi.RunError) as refused:
        look()
    assert looked == [("kubeconfig", "mn")]
    heading, problem = str(refused.value).splitlines()
    assert heading == "a problem with the cluster; nothing was changed:"
    assert problem.startswith("mn: on_premise.machines.0.name worker-b has no Node of its name in the cluster")
    assert "[Pulumi.mn.yaml:" in problem
    assert len(warned) == 1
    assert warned[0].startswith("mn: kube-proxy runs in the cluster as well")


def test_one_that_fits_is_let_through(monkeypatch: pytest.MonkeyPatch, warned: list[str]) -> None:
    monkeypatch.setattr(given_cluster_look, "look_at_cluster", lambda *_: FITS)
    look()
    assert warned == []


def test_what_runs_already_and_what_is_no_given_cluster_is_not_looked_at(looked: list[tuple[str, str]]) -> None:
    look(outputs={RAISED_WITH: {}})
    look(config=MN)
    look("de", DE)
    assert looked == []


@pytest.mark.parametrize("reason", [KubernetesError("no answer"), UnsupportedKubeconfigError("exec")])
def test_one_that_can_not_be_looked_at_is_no_word_against_it(
    reason: Exception, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    def fail(*_: str) -> GivenCluster:
        raise reason

    monkeypatch.setattr(given_cluster_look, "look_at_cluster", fail)
    look()
    assert warned == []


def test_a_kubeconfig_that_leads_nowhere_is_told_as_such() -> None:
    with pytest.raises(UnsupportedKubeconfigError):
        look_at_cluster("{}", "mn")
