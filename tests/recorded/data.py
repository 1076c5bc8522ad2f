"""What earlier programs left, whose stacks may be out there. None of it is ever changed.

48c7c4d is the first. For each kind of cluster its stack file and the outputs of its stack, as the program of that
commit made them; secret outputs are ``[secret]``. ``link.schema.json`` is its reader of a peer's link. ``state.json``
has the resources of an existing cluster, linked, as that program left them with ``tests/engine/world.py``; ``raised``
those of de at Hetzner and of mn on machines over SSH, with ``tests/engine/sites.py``, and their stack files.

Of 0e658f3, the first with a guard and waits that are no resources, there is the state of the same cluster.

Of 569af63, whose resources did not carry their component's name, there are stack files and states of two linked stacks
that a lab had raised: de at Hetzner, mn on machines over SSH. Long texts are cut; secrets stand in for theirs, and the
public key at Hetzner is that of the tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

FIRST: Final = "48c7c4d"
WITH_A_GUARD: Final = "0e658f3"
OF_A_LAB: Final = "569af63"
FIRST_RAISED: Final = f"{FIRST}/raised"
DIRECTORY: Final = Path(__file__).parent / FIRST
KINDS: Final = {"de": "de", "mn": "mn", "mn-existing-cluster": "mn"}
"""Kinds of clusters and their stacks: Hetzner, machines over SSH, an existing cluster."""

CHARTS: Final = "https://mirror.example.net/charts"
"""The mirror in the states."""
HETZNER: Final = "http://198.51.100.20/v1"
"""Hetzner's API in the states."""


def stack_config(kind: str) -> dict[str, Any]:
    """The config of the stack file; its secrets are as those of the samples."""
    found: dict[str, Any] = yaml.safe_load((DIRECTORY / f"{kind}.yaml").read_text(encoding="utf-8"))["config"]
    return found


def outputs(kind: str) -> dict[str, Any]:
    """The stack's outputs by name."""
    found: dict[str, Any] = json.loads((DIRECTORY / "outputs.json").read_text(encoding="utf-8"))[kind]
    return found


def link_schema() -> dict[str, Any]:
    """What that program took as a link; anything else it refused, fields that it did not know included."""
    found: dict[str, Any] = json.loads((DIRECTORY / "link.schema.json").read_text(encoding="utf-8"))
    return found


def raised_config(commit: str, stack: str, *, charts: str, hetzner: str) -> dict[str, Any]:
    """The config of de's or mn's stack file, without secrets, with which the program of a commit had raised it.
    ``charts`` is the address of the mirror, ``hetzner`` that of Hetzner's API.
    """
    text = (DIRECTORY.parent / commit / f"{stack}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text.replace(CHARTS, charts).replace(HETZNER, hetzner))["config"]
    return found


def state(
    commit: str, *, kubeconfig: str, charts: str, hetzner: str = "", file: str = "state.json"
) -> list[dict[str, Any]]:
    """The resources of a cluster's state as the program of a commit left it, for ``pulumi stack import``; secrets are
    in plain in it. ``charts`` is the address of the mirror, ``hetzner`` that of Hetzner's API.
    """
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {"[secret]"}:
                return {**secret, "plaintext": json.dumps(filled(value["[secret]"]))}
            return {key: filled(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [filled(entry) for entry in value]
        return kubeconfig if value == "[kubeconfig]" else value

    text = (DIRECTORY.parent / commit / file).read_text(encoding="utf-8")
    found: list[dict[str, Any]] = filled(json.loads(text.replace(CHARTS, charts).replace(HETZNER, hetzner)))
    return found
