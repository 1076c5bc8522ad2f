"""A machine of one's own is made a node anew: what is done on it, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from components.node_upgrade import MachineError
from components.reinstalled import ReinstalledMachine


class Shell:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails = ""

    def look(self) -> None:
        self._do("looked")

    def uninstall(self, say: Callable[[str], None]) -> None:
        say("it goes")
        self._do("uninstalled")

    def install(self, say: Callable[[str], None]) -> None:
        say("it comes")
        self._do("installed")

    def _do(self, deed: str) -> None:
        if deed == self.fails:
            raise MachineError(f"not {deed}")
        self.done.append(deed)


def test_what_is_done_on_it() -> None:
    shell, said = Shell(), list[str]()
    machine = ReinstalledMachine(shell, said.append)
    machine.is_there()
    assert (shell.done, said) == (["looked"], [])
    machine.switch_off()
    machine.begin_anew()
    assert (shell.done, said) == (["looked", "uninstalled", "installed"], ["it goes", "it comes"])


@pytest.mark.parametrize(
    ("fails", "deed"), [("looked", "is_there"), ("uninstalled", "switch_off"), ("installed", "begin_anew")]
)
def test_it_says_what_the_machine_said(fails: str, deed: str) -> None:
    shell = Shell()
    shell.fails = fails
    machine: Any = ReinstalledMachine(shell, lambda _: None)
    with pytest.raises(MachineError, match=f"not {fails}"):
        getattr(machine, deed)()
