"""What Hetzner has not got, and an API that is away, in a preview and in an `up` of the real engine."""

from __future__ import annotations

from typing import Any, Final

import pytest

from lab.standins.hetzner_api import catalog
from tests.benchmark_lookup import LIMIT_SECONDS, measure
from tests.domain.samples import MN, changed
from tests.engine.conftest import StartHetzner, at, is_empty
from tests.engine.project import Project, Result, steps

pytestmark = pytest.mark.engine

PREVIEW: Final = ("preview", "-s", "de")
UP: Final = ("up", "-s", "de", "--yes", "--skip-preview")
UNASKED: Final = "de: Hetzner could not be asked for locations, server types and images"
LACKS: Final = (
    (
        "de: hetzner.workers.server_type cx33 is not among Hetzner's server types, as its API says; take one that is "
        "there: cpx22, cx23, ccx13, cpx32, ccx23, cpx42, cx43, cpx52 or a larger one. [Pulumi.de.yaml:"
    ),
    (
        "de: hetzner.image debian-99 is not among Hetzner's images for x86, as its API says; take one like debian-12. "
        "[Pulumi.de.yaml:"
    ),
)
TOKEN: Final = (
    "de: hcloud:token is refused by Hetzner's API; it is wrong, or was revoked; "
    "set a new one: `pulumi config set --secret hcloud:token -s de`. [Pulumi.de.yaml:"
)


def write(project: Project, de: dict[str, Any]) -> None:
    project.write("de", de)
    project.write("mn", MN)
    project.init("de")


def refused(project: Project, result: Result, messages: tuple[str, ...]) -> None:
    """It failed with these messages, each once, in one error, and made nothing."""
    result.expect(1)
    count = "a problem" if len(messages) == 1 else f"{len(messages)} problems"
    result.says(f"error: {count} in the stack files; nothing was changed:")
    assert [result.output.count(message) for message in messages] == [1] * len(messages), result.output
    assert "Traceback" not in result.output
    assert "never retrieved" not in result.output
    assert [resource for resource in project.resources("de") if not resource["type"].startswith("pulumi:")] == []


@pytest.mark.parametrize("command", [PREVIEW, UP], ids=["preview", "up"])
def test_what_hetzner_lacks(
    project: Project, start_hetzner: StartHetzner, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    left = tuple(server_type for server_type in catalog.SERVER_TYPES if server_type.name != "cx33")
    monkeypatch.setattr(catalog, "SERVER_TYPES", left)
    hetzner = start_hetzner()
    write(project, changed(at(hetzner), {"hetzner.workers.server_type": "cx33", "hetzner.image": "debian-99"}))

    refused(project, project.run(*command), LACKS)
    assert is_empty(hetzner)


def test_a_token_that_was_revoked(project: Project, start_hetzner: StartHetzner) -> None:
    hetzner = start_hetzner()
    write(project, at(hetzner))
    hetzner.change_token("n" * 64)

    refused(project, project.run(*PREVIEW), (TOKEN,))


def test_an_api_that_is_away_costs_a_warning(project: Project, start_hetzner: StartHetzner) -> None:
    """The plan is the same with it and without it, but for the warning."""
    hetzner = start_hetzner()
    write(project, at(hetzner))
    there = project.run(*PREVIEW, "--json").expect(0)
    assert UNASKED not in there.output
    hetzner.order({"path": "^/server_types", "count": 9, "answer": "hang", "seconds": 60})

    away = project.run(*PREVIEW, "--json").expect(0)

    away.says(f"{UNASKED}, which were checked by the list of September 2026 only: no answer within 2 s")
    assert steps(away.json) == steps(there.json) != []


@pytest.mark.thorough
def test_asking_costs_a_preview_little() -> None:
    """By the processor's time, since tests run beside others; `python -m tests.benchmark_lookup` is exact."""
    assert measure(5).added_processor <= LIMIT_SECONDS
