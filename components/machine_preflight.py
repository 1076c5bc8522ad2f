"""Looks at machines that are to become nodes before the first of them is changed, and refuses all that is wrong at
once.

Only at an `up`, and only at machines that no update has raised yet: a preview may be run from where they can't be
reached, and what runs is not to be held up. A machine that can't be reached is waited for later, see
``ssh_reachable.py``.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pulumi

from components.configuration import StackConfiguration
from domain.places.machines import SSH_PRIVATE_KEY
from domain.places.on_premise.preflight import Look, faults, remarks
from preflight.asking import CANNOT_BE_REACHED, NoSshError, login, look_at, private_file

SKIP: Final = "ISTHMUS_SKIP_PREFLIGHT"
"""Set to 1: no look at machines before an `up`."""


async def refuse_unfit_machines(configuration: StackConfiguration) -> None:
    """Raises ``pulumi.RunError`` with everything that keeps machines of the stack from becoming nodes. Does nothing for
    a stack whose machines are not reached over SSH, and where all of them are nodes already.
    """
    settings = configuration.settings
    section, key = settings.on_premise, configuration.values.get(SSH_PRIVATE_KEY.key)
    if section is None or section.ssh is None or key is None or os.environ.get(SKIP) == "1":
        return
    running = configuration.outputs.get("node_ips")
    known = running if isinstance(running, Mapping) else {}
    new = {machine.name for machine in section.machines if machine.name not in known}
    if not new:
        return
    pulumi.log.info(f"{settings.stack}: looking at {', '.join(sorted(new))} before anything is changed there")
    with tempfile.TemporaryDirectory(prefix="isthmus-preflight-") as held:
        entry = login(Path(held), section.ssh, section.machines, private_file(Path(held), key))
        try:
            port = settings.cilium.tunnel_port
            look = await asyncio.to_thread(look_at, settings.stack, section.machines, entry, tunnel_port=port)
        except NoSshError as error:
            pulumi.log.warn(f"{settings.stack}: the machines were not looked at: {error}")
            return
    look = _of_new(look, new)
    for remark in remarks(look, tunnel_port=port):
        pulumi.log.warn(remark)
    network = settings.network
    problems = faults(look, node_cidr=str(network.node_cidr), pod_cidr=str(network.pod_cidr))
    if problems:
        raise configuration.refusal(problems, "with the machines")


def _of_new(look: Look, new: set[str]) -> Look:
    """What concerns those machines alone, without those that may only be switched off, and without the silence of
    whatever machine could not be asked: it is away, and holds up no other.
    """
    unasked = {
        name: why for name, why in look.unasked.items() if name in new and not why[0].startswith(CANNOT_BE_REACHED)
    }
    away = {str(machine.address) for machine in look.machines if machine.name in look.unasked}
    facts = {
        name: replace(heard, silent=frozenset(place for place in heard.silent if place.rpartition(":")[0] not in away))
        for name, heard in look.facts.items()
        if name in new
    }
    return Look(look.stack, look.machines, facts, unasked)
