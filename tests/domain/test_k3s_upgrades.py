"""k3s goes forward, one minor release at a time; what is said of other steps."""

from __future__ import annotations

from typing import Any

import pytest

from domain.changes import changes_refused, raised_with
from domain.k3s_upgrades import release, step_refused
from domain.places.outputs import RAISED_WITH
from tests.domain.samples import DE, GIVEN, MN, SHA256, settings_of

BASES: dict[str, dict[str, Any]] = {"de": DE, "mn": MN}


def said(stack: str, runs: str, wanted: str) -> list[str]:
    """What the stack is told when it goes from one release to another."""
    outputs = {RAISED_WITH: raised_with(settings_of(stack, BASES[stack], {"k3s.version": runs}))}
    return [
        str(problem) for problem in changes_refused(outputs, settings_of(stack, BASES[stack], {"k3s.version": wanted}))
    ]


@pytest.mark.parametrize("stack", ["de", "mn"])
@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ("v1.35.1+k3s1", "v1.34.9+k3s1"),
        ("v1.34.9+k3s1", "v1.34.8+k3s1"),
        ("v1.34.10+k3s1", "v1.34.9+k3s2"),
        ("v1.34.9+k3s2", "v1.34.9+k3s1"),
        ("v1.35.0+k3s1", "v1.35.0-rc2+k3s1"),
    ],
)
def test_back(stack: str, runs: str, wanted: str) -> None:
    rule = f"is older than {runs}, with which the cluster runs; k3s does not go back: its data is of the newer one"
    assert said(stack, runs, wanted) == [f"{stack}: k3s.version {wanted} {rule}; write {runs} again, or a later one."]


@pytest.mark.parametrize(("runs", "wanted"), [("v1.34.9+k3s1", "v1.36.0+k3s1"), ("v1.34.0-rc1+k3s1", "v1.37.2+k3s1")])
def test_skips(runs: str, wanted: str) -> None:
    rule = f"skips v1.35; the cluster runs {runs}, and Kubernetes goes from one minor release to the next"
    assert said("mn", runs, wanted) == [
        f"mn: k3s.version {wanted} {rule}; take a v1.35 first, then `pulumi up -s mn`.",
    ]


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ("v1.34.9+k3s1", "v1.34.9+k3s1"),
        ("v1.34.9+k3s1", "v1.34.10+k3s1"),
        ("v1.34.9+k3s1", "v1.34.9+k3s2"),
        ("v1.34.9+k3s1", "v1.35.0+k3s1"),
        ("v1.34.0-rc1+k3s1", "v1.34.0+k3s1"),
    ],
)
def test_forward(runs: str, wanted: str) -> None:
    assert said("de", runs, wanted) == []


def test_a_version_before_did_not_note_it() -> None:
    outputs: dict[str, Any] = {RAISED_WITH: raised_with(settings_of("mn", MN, {"k3s.version": "v1.36.0+k3s1"}))}
    assert len(changes_refused(outputs, settings_of("mn", MN))) == 1
    del outputs[RAISED_WITH]["k3s_version"]
    assert changes_refused(outputs, settings_of("mn", MN)) == []


@pytest.mark.parametrize("noted", ["v1.36.0+k3s1\nx", "1.36", "", SHA256])
def test_what_is_no_tag_is_not_compared(noted: str) -> None:
    assert step_refused("mn", noted, "v1.34.9+k3s1") is None


def test_a_cluster_that_is_given_has_its_own() -> None:
    assert "k3s_version" not in raised_with(settings_of("mn", GIVEN))


def test_the_order_of_releases() -> None:
    tags = ["v1.34.0-rc1+k3s1", "v1.34.0-rc2+k3s1", "v1.34.0+k3s1", "v1.34.0+k3s2", "v1.34.2+k3s1", "v1.34.10+k3s1"]
    assert sorted(tags, key=lambda tag: release(tag) or ()) == tags
