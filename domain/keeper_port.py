"""The UDP port where the keepers of the routers hear each other, and what else has one there.

It owns what the port may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, StrictInt

from domain.names import KEEPER_PORT
from domain.problems import Problem
from domain.tunnel_port import NODE_PORTS, TAKEN
from domain.values.rule_error import RuleError

_FIX = f"take {KEEPER_PORT} or another one that is free"


def keeper_port(value: int) -> int:
    """None of the UDP ports that are taken on a router, and none that Kubernetes may give to a service."""
    if value in TAKEN:
        raise RuleError(f"is the port where {TAKEN[value]}", _FIX)
    if value in NODE_PORTS:
        raise RuleError(f"is one of {NODE_PORTS[0]} to {NODE_PORTS[-1]}, which Kubernetes gives to services", _FIX)
    return value


KeeperPort = Annotated[StrictInt, Field(ge=1024, le=65535), AfterValidator(keeper_port)]


def keepers_have_their_own(stack: str, keeper: int | None, others: dict[str, int | None]) -> Iterator[Problem]:
    """No other setting has the keepers' port. ``others`` are {setting: port}."""
    for setting, port in others.items():
        if keeper is not None and keeper == port:
            yield Problem(
                stack, "keeper.port", str(keeper), f"is that of {setting}, too", "take another one that is free"
            )
