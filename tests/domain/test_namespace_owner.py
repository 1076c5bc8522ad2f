"""Whose a namespace is."""

from __future__ import annotations

from typing import Any

import pytest

from domain.namespace_owner import is_somebody_elses

OURS = {"isthmus.dev/made-by": "isthmus"}
ENGINE = "pulumi-kubernetes-1f2e3d4c"


def namespace(labels: dict[str, str] | None, *managers: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "netbird",
            "labels": labels,
            "managedFields": [{"manager": manager} for manager in managers],
        }
    }


@pytest.mark.parametrize(
    ("there", "release", "theirs"),
    [
        pytest.param(None, False, False, id="not there yet"),
        pytest.param(namespace(OURS, ENGINE), True, False, id="ours"),
        pytest.param(namespace(OURS, ENGINE, "kubectl-label"), False, False, id="ours, labelled by hand since"),
        pytest.param(namespace(None, ENGINE), True, False, id="of an earlier release"),
        pytest.param(namespace({}), True, False, id="of an earlier release, without managers"),
        pytest.param(namespace({}, ENGINE), False, True, id="of another stack of theirs"),
        pytest.param(namespace({}, "kubectl-create"), False, True, id="made by kubectl"),
        pytest.param(namespace({}, "kubectl-create", ENGINE), True, True, id="adopted by an earlier release"),
        pytest.param(namespace({"isthmus.dev/made-by": "ann"}, "helm"), False, True, id="with the label of another"),
    ],
)
def test_is_somebody_elses(there: dict[str, Any] | None, release: bool, theirs: bool) -> None:
    assert is_somebody_elses(there, has_our_release=release) is theirs
