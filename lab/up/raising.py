"""What the steps of raising the lab know of each other, and how a step is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lab import failed_up
from lab.own_settings import Artifacts
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Reporter
from lab.steps import StepFailed, Steps
from lab.topology import Topology
from toolchain import ensure, pulumi_bin

T = TypeVar("T")


@dataclass(kw_only=True)
class Raising:
    """What the steps know of each other."""

    lab: Topology
    reporter: Reporter
    steps: Steps
    colour: bool
    tools: dict[str, Path] = field(default_factory=dict)
    artifacts: Artifacts | None = None
    host_keys: dict[str, str] = field(default_factory=dict)

    @property
    def person(self) -> Tools:
        """The programs at the workstation."""
        return tools_of_person()

    @property
    def pulumi(self) -> Pulumi:
        """`pulumi` at the workstation."""
        return Pulumi(tools=self.person)


def tools_of_person() -> Tools:
    """The programs at the workstation; cheap once they are built."""
    return Tools(pulumi_bin=pulumi_bin(), kubectl=ensure(["kubernetes"])["kubernetes"] / "kubectl")


def again(raising: Raising, title: str, work: Callable[[], T], *, usual_seconds: float | None = None) -> T:
    """A step that may be repeated: it is, a few times, while what it fails by is a matter of time, and that is said."""
    for attempt in range(1, failed_up.ATTEMPTS + 1):
        try:
            with raising.steps.step(title, usual_seconds=usual_seconds):
                return work()
        except StepFailed as error:
            if attempt == failed_up.ATTEMPTS or not failed_up.passing(str(error)):
                raise
            raising.reporter.note(f"{error}\nThat may pass: again ({attempt + 1} of {failed_up.ATTEMPTS}).")
            time.sleep(failed_up.PAUSE_SECONDS[attempt - 1])
    raise AssertionError("the last attempt returns or raises")
