"""A machine of one's own is made a node anew: k3s is taken off it with all its data, and installed again.

The machine itself goes on: its system, its addresses and what is below a mount stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Installing(Protocol):
    """What is done on the machine. All raise :class:`components.node_upgrade.MachineError`."""

    def look(self) -> None:
        """As :meth:`components.machine_shell.MachineShell.look`."""

    def uninstall(self, say: Callable[[str], None]) -> None:
        """As :meth:`components.machine_shell.MachineShell.uninstall`."""

    def install(self, say: Callable[[str], None]) -> None:
        """As :meth:`components.machine_shell.MachineShell.install`."""


@dataclass(frozen=True)
class ReinstalledMachine:
    """One machine, and who is told what goes on there. Raises what that raises."""

    shell: Installing
    say: Callable[[str], None]

    def is_there(self) -> None:
        """Somebody may log in, and nothing of the machine stands against it."""
        self.shell.look()

    def switch_off(self) -> None:
        """Nothing of the node runs any more, and none of its data is left."""
        self.shell.uninstall(self.say)

    def begin_anew(self) -> None:
        """Returns once k3s runs. It finds nothing, so a server joins the others: it may begin no cluster."""
        self.shell.install(self.say)
