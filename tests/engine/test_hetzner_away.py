"""Hetzner's API is away from the start of an `up` or a `refresh`, or goes in the middle of a `destroy`: what is said,
and that with the API back the command goes through, with nothing twice and nothing left over.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.engine.conftest import StartHetzner, at, is_empty
from tests.engine.project import Project
from tests.engine.test_hetzner import UP, backend_files, changes, finish, hidden_in, prepare
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

REFRESH: Final = ("refresh", "-s", "de", "--yes", "--skip-preview", "--target=**hcloud:index/**")
DESTROY: Final = ("destroy", "-s", "de", "--yes", "--skip-preview")
REFUSED: Final = "connect: connection refused"
NO_ANSWER: Final = "Hetzner API: GET /networks?name=isthmus-de: no answer: "
ACTION_SECONDS: Final = 2.0
"""Long enough for the API to go while servers are being deleted."""


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["up", "refresh"])
def test_away_at_the_start(
    project: Project, hetzner: StandIn, start_hetzner: StartHetzner, de: dict[str, Any], command: str
) -> None:
    """An `up` makes nothing, a `refresh` forgets nothing."""
    prepare(project, de)
    if command == "refresh":
        finish(project, hetzner)
    before = hetzners(project)
    hetzner.stop()

    failed = project.run(*(UP if command == "up" else REFRESH)).expect(1)

    failed.says(NO_ANSWER if command == "up" else REFUSED)
    assert "Traceback" not in failed.output
    assert hetzners(project) == before
    hidden_in({command: failed.output, **backend_files(project)})

    back = start_hetzner(port=hetzner.port)
    if command == "up":
        finish(project, back)
    else:
        project.run(*REFRESH).expect(0)
        assert hetzners(project) == before
        assert changes(project.preview("de")) == []


@pytest.mark.thorough
def test_away_in_the_middle_of_destroy(project: Project, start_hetzner: StartHetzner) -> None:
    """It goes while the servers are being deleted; what is left is known, and goes with a `destroy --refresh`."""
    hetzner = start_hetzner(action_seconds=ACTION_SECONDS)
    prepare(project, at(hetzner))
    finish(project, hetzner)

    running = project.start(*DESTROY)
    running.wait_for(lambda: goes(hetzner), "a server is being deleted")
    hetzner.stop()
    failed = running.end(300).expect(1)

    failed.says(REFUSED)
    assert "Traceback" not in failed.output
    left = {urn.rpartition("::")[2] for urn in hetzners(project) if "network:Network::" in urn}
    assert left, "the network goes after its servers"

    back = start_hetzner(port=hetzner.port)
    # What Hetzner did unheard the state does not know, and Hetzner's provider takes a server that is gone for an error.
    project.run(*DESTROY, "--refresh").expect(0)
    assert is_empty(back)
    assert project.resources("de") == []


def hetzners(project: Project) -> list[str]:
    """The resources at Hetzner that the state knows."""
    return sorted(resource["urn"] for resource in project.resources("de") if resource["type"].startswith("hcloud:"))


def goes(hetzner: StandIn) -> bool:
    """Whether a server is on its way out."""
    return any(server["status"] == "deleting" for server in hetzner.call("GET", "/servers").json()["servers"])
