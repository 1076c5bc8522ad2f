"""Labels and taints that a stack file wants on its Nodes: what is changed of a Node so that it has them.

It owns that comparison. What it has set it notes on the Node itself, so that of what is no longer wanted only its own
is taken away: a person's labels and taints stay, and so do those of Kubernetes. Who asks is
``components/node_watch.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.nodes import Marks

MARKS_ANNOTATION: Final = "isthmus.dev/marks"
"""On a Node that has labels or taints of the stack file: their names, as JSON."""

Taint = Mapping[str, Any]
"""As the API has it: key, effect, and value where it has one."""


def marking(node: Mapping[str, Any], wanted: Marks) -> dict[str, Any] | None:
    """The merge patch by which the Node has what is wanted, None where it has it already.

    The API replaces all taints at once, so a patch of them holds only for the Node as it was read: another one who
    changed it since lets it fail with a conflict, and the next look makes a new one.
    """
    metadata = node["metadata"]
    annotation = (metadata.get("annotations") or {}).get(MARKS_ANNOTATION)
    noted, new = _noted(annotation), {"labels": sorted(name for name, _ in wanted.labels), "taints": _names(wanted)}
    labels: dict[str, str | None] = dict(wanted.labels)
    there = metadata.get("labels") or {}
    changed = {name: value for name, value in labels.items() if there.get(name) != value}
    changed |= {name: None for name in noted["labels"] if name not in labels and name in there}
    before: Sequence[Taint] = (node.get("spec") or {}).get("taints") or []
    after = _taints(before, wanted, noted["taints"])
    text = json.dumps(new, sort_keys=True) if any(new.values()) else None
    if not changed and after is None and text == annotation:
        return None
    patch: dict[str, Any] = {"metadata": {"annotations": {MARKS_ANNOTATION: text}}}
    if changed:
        patch["metadata"]["labels"] = changed
    if after is not None:
        patch["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        patch["spec"] = {"taints": after}
    return patch


def _noted(annotation: str | None) -> dict[str, list[str]]:
    """What was set by this program. A note that somebody has spoilt is none."""
    try:
        found = json.loads(annotation or "{}")
    except ValueError:
        found = {}
    values = {name: found.get(name) if isinstance(found, dict) else None for name in ("labels", "taints")}
    return {name: [str(entry) for entry in value] if isinstance(value, list) else [] for name, value in values.items()}


def _taints(before: Sequence[Taint], wanted: Marks, noted: Sequence[str]) -> list[Taint] | None:
    """All taints of the Node with those that are wanted; None where nothing changes."""
    ours = {_name(taint): taint for taint in map(as_object, wanted.taints)}
    there = {_name(taint): taint for taint in before}
    kept = [taint for taint in before if _name(taint) not in noted or _name(taint) in ours]
    after = [
        taint if (new := ours.get(_name(taint))) is None or taint.get("value", "") == new.get("value", "") else new
        for taint in kept
    ]
    after += [taint for name, taint in ours.items() if name not in there]
    return None if after == list(before) else after


def as_object(taint: str) -> dict[str, str]:
    """A taint as ``kubectl taint`` takes it, as the API has it."""
    rest, _, effect = taint.rpartition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def _name(taint: Taint) -> str:
    """What Kubernetes tells one taint of a Node from another by."""
    return f"{taint['key']}:{taint['effect']}"


def _names(wanted: Marks) -> list[str]:
    return sorted(_name(as_object(taint)) for taint in wanted.taints)
