"""What a person's own shell needs to work in the lab: shims for `pulumi` and `kubectl`, and variables.

The shims enter the workstation's network and do nothing else; the programs are the real ones.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from lab import project, state, topology
from lab.errors import LabError
from lab.project import Tools

_SHIM = """#!/bin/sh
# {what} at the lab's workstation; made by `./isthmus lab env`.
if [ "$(id -u)" -ne 0 ]; then
    echo "{name}: entering the lab's network needs root" >&2
    exit 1
fi
for variable in $(env | sed -n 's/^\\([A-Za-z_]*_[Pp][Rr][Oo][Xx][Yy]\\)=.*/\\1/p'); do
    unset "$variable"
done
unset SSH_AUTH_SOCK
exec nsenter --net=/run/netns/{namespace} {environment}{command} "$@"
"""


class NotUpError(LabError):
    """There is no lab to work in."""


def shims_directory() -> Path:
    """Where the shims lie."""
    return state.STATE / "bin"


def require_lab() -> None:
    """Raises :class:`NotUpError` when there is no lab, or none that has got as far as its project."""
    if os.geteuid() != 0:
        raise NotUpError("The lab belongs to root. Run this as root.")
    if not project.passphrase_file().is_file():
        raise NotUpError("The lab is not up; run `./isthmus lab up`.")


def write_shims(tools: Tools) -> Path:
    """Writes the shims and returns their directory."""
    directory = shims_directory()
    directory.mkdir(parents=True, exist_ok=True)
    more = {**project.directories(), "PATH": f"{tools.pulumi_bin}:$PATH"}
    environment = "env " + " ".join(
        f'{name}="{value}"' if "$" in value else f"{name}={shlex.quote(value)}" for name, value in more.items()
    )
    pulumi = [str(tools.pulumi_bin / "pulumi"), "-C", str(project.directory())]
    for name, command, what, prefix in (
        ("pulumi", pulumi, "The real pulumi, in the lab's project,", f"{environment} "),
        ("kubectl", [str(tools.kubectl)], "The real kubectl", ""),
    ):
        text = _SHIM.format(
            what=what,
            name=name,
            namespace=topology.WORKSTATION_NAMESPACE,
            environment=prefix,
            command=shlex.join(command),
        )
        path = directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    return directory


def exports(tools: Tools) -> list[str]:
    """Lines for `eval` in sh, bash or zsh."""
    directory = write_shims(tools)
    lines = [f'case ":$PATH:" in *:{directory}:*) ;; *) export PATH={shlex.quote(str(directory))}:"$PATH" ;; esac']
    lines += [f"export {name}={shlex.quote(value)}" for name, value in project.variables().items()]
    return lines
