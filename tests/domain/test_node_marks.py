"""Labels and taints of a pool on its Nodes: only what is to change is asked for, and nobody else's is touched."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from domain.node_marks import MARKS_ANNOTATION, as_object, marking
from domain.nodes import Marks

CORDONED: Final = {
    "key": "node.kubernetes.io/unschedulable",
    "effect": "NoSchedule",
    "timeAdded": "2026-11-30T05:00:00Z",
}
DB: Final = {"key": "workload", "value": "db", "effect": "NoSchedule"}
WANTED: Final = Marks((("ssd", "true"), ("workload", "db")), ("workload=db:NoSchedule",))
NOTE: Final = json.dumps({"labels": ["ssd", "workload"], "taints": ["workload:NoSchedule"]})


def node(labels: dict[str, str], taints: list[dict[str, str]], note: str | None = None) -> dict[str, Any]:
    annotations = {} if note is None else {MARKS_ANNOTATION: note}
    return {
        "metadata": {"name": "de-db-1", "resourceVersion": "7", "labels": labels, "annotations": annotations},
        "spec": {"taints": taints},
    }


def applied(there: dict[str, Any], patch: dict[str, Any] | None) -> dict[str, Any]:
    """As the API merges it (RFC 7396)."""
    result = dict(there)
    for name, value in (patch or {}).items():
        if isinstance(value, dict):
            result[name] = applied(result.get(name) or {}, value)
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def test_a_node_that_has_just_joined() -> None:
    """Its k3s has registered it with the taint, and Kubernetes has put one of its own there."""
    patch = marking(node({"kubernetes.io/os": "linux"}, [CORDONED, DB]), WANTED)
    assert patch == {"metadata": {"labels": {"ssd": "true", "workload": "db"}, "annotations": {MARKS_ANNOTATION: NOTE}}}


def test_what_is_there_is_not_asked_for_again() -> None:
    assert marking(node({"ssd": "true", "workload": "db", "theirs": "x"}, [CORDONED, DB], NOTE), WANTED) is None


def test_a_node_without_marks_is_left_alone() -> None:
    assert marking({"metadata": {"name": "de-agent-1"}}, Marks()) is None
    assert marking(node({"theirs": "x"}, [CORDONED]), Marks()) is None


def test_a_change_in_place() -> None:
    there = node({"ssd": "true", "workload": "db", "theirs": "x"}, [CORDONED, DB], NOTE)
    wanted = Marks((("workload", "cache"),), ("workload=cache:NoSchedule", "spot:NoExecute"))
    patch = marking(there, wanted)
    assert patch == {
        "metadata": {
            "resourceVersion": "7",
            "labels": {"workload": "cache", "ssd": None},
            "annotations": {
                MARKS_ANNOTATION: json.dumps(
                    {"labels": ["workload"], "taints": ["spot:NoExecute", "workload:NoSchedule"]}
                )
            },
        },
        "spec": {
            "taints": [
                CORDONED,
                {"key": "workload", "value": "cache", "effect": "NoSchedule"},
                {"key": "spot", "effect": "NoExecute"},
            ]
        },
    }
    assert marking(applied(there, patch), wanted) is None


def test_what_is_not_wanted_any_more_goes_and_nothing_else() -> None:
    there = node({"ssd": "true", "theirs": "x"}, [CORDONED, DB, {"key": "theirs", "effect": "NoSchedule"}], NOTE)
    patch = marking(there, Marks())
    after = applied(there, patch)
    assert after["metadata"]["labels"] == {"theirs": "x"}
    assert after["metadata"]["annotations"] == {}
    assert after["spec"]["taints"] == [CORDONED, {"key": "theirs", "effect": "NoSchedule"}]
    assert marking(after, Marks()) is None


@pytest.mark.parametrize("note", ["{", "[]", "3", json.dumps({"labels": "ssd", "taints": None})])
def test_a_spoilt_note_takes_nothing_away(note: str) -> None:
    there = node({"ssd": "true"}, [DB], note)
    after = applied(there, marking(there, Marks()))
    assert (after["metadata"]["labels"], after["spec"]["taints"]) == ({"ssd": "true"}, [DB])
    assert after["metadata"]["annotations"] == {}


@pytest.mark.parametrize(
    ("written", "as_the_api_has_it"),
    [
        ("a=b:NoExecute", {"key": "a", "value": "b", "effect": "NoExecute"}),
        ("example.com/a:NoSchedule", {"key": "example.com/a", "effect": "NoSchedule"}),
        ("a=:NoSchedule", {"key": "a", "effect": "NoSchedule"}),
    ],
)
def test_forms_of_a_taint(written: str, as_the_api_has_it: dict[str, str]) -> None:
    assert as_object(written) == as_the_api_has_it
