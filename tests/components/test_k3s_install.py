"""What is run on a machine as root: the deadlines are above those of the installer itself."""

from __future__ import annotations

import re

import pytest

from components.k3s_install import INSTALL, INSTALL_SECONDS, STAGE, STAGE_SECONDS
from domain.node_files import script


def seconds(name: str) -> int:
    (found,) = re.findall(rf"^{name}=([0-9]+)", script("install-k3s.sh"), re.MULTILINE)
    return int(found)


def test_the_machine_ends_them_after_the_installer_has_had_its_time() -> None:
    assert seconds("total_seconds") == INSTALL_SECONDS
    assert seconds("lock_seconds") + seconds("download_seconds") <= STAGE_SECONDS


@pytest.mark.parametrize("command", [INSTALL, STAGE])
def test_sudo_can_quote_them(command: str) -> None:
    """``Shell.as_root`` puts them between single quotes."""
    assert "'" not in command
