"""Waits for a machine's SSH server before the command provider dials it.

The provider says "Dial 1/10 failed: retrying" without a cause, and a server that takes the connection and then says
nothing holds a dial for as long as it likes. This says every few seconds what it waits for and what is there, and ends
with the reason and what to do. It is a hook of the command's resource and no resource itself: nothing of it stays.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pulumi

ANSWER_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 2.0
TELL_SECONDS: Final = 10.0
SSH_PORT: Final = 22
"""Where nothing else is said."""
AGENT: Final = "SSH_AUTH_SOCK"


class UnreachableError(Exception):
    """A machine's SSH server was not there in time, or the provider would not get to it."""


@dataclass(frozen=True)
class SshWait:
    """How long to wait for which machine. ``fix`` says what to look at when it does not come, as a clause."""

    machine: str
    deadline_seconds: float
    fix: str


def why_no_ssh(host: str, port: int, seconds: float = ANSWER_SECONDS) -> str | None:
    """What stands in the way of a login; None when an SSH server says who it is."""
    said = b""
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            end = time.monotonic() + seconds
            # A server may say other lines first (RFC 4253, 4.2).
            while not any(line.startswith(b"SSH-") for line in said.splitlines()):
                connection.settimeout(max(0.1, end - time.monotonic()))
                received = connection.recv(1024)
                said += received
                if not received:
                    return "it hangs up before it says that it is an SSH server"
                if time.monotonic() >= end or len(said) > 65536:
                    return "what it says is not SSH"
    except TimeoutError:
        return "no answer" if not said else "what it says is not SSH"
    except OSError as error:
        return error.strerror or str(error)
    return None


def why_no_agent(path: str | None) -> str | None:
    """What the provider would fail with, in words that help; None where it finds an agent, or looks for none."""
    if not path:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(path)
    except OSError as error:
        return (
            f"{AGENT} is {path}, where no SSH agent answers ({error.strerror or error}); the command provider asks it "
            f"although it has a key, and fails. Run `unset {AGENT}`, then the same command again"
        )
    return None


def wait_for_ssh(
    host: str,
    port: int,
    waited: SshWait,
    say: Callable[[str], None],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    look: Callable[[str, int], str | None] = why_no_ssh,
) -> None:
    """Returns when the SSH server answers. Raises :class:`UnreachableError` at the deadline."""
    begun = now()
    told, told_at = "", begun
    while (reason := look(host, port)) is not None:
        passed = now() - begun
        if passed >= waited.deadline_seconds:
            raise UnreachableError(
                f"{waited.machine}: no SSH at {host}:{port} within {waited.deadline_seconds:.0f} s: {reason}; "
                f"{waited.fix}. Nothing of this stands in the way of the next `pulumi up`"
            )
        if reason != told or now() - told_at >= TELL_SECONDS:
            say(
                f"{waited.machine}: waiting for SSH at {host}:{port} ({passed:.0f} of "
                f"{waited.deadline_seconds:.0f} s): {reason}"
            )
            told, told_at = reason, now()
        sleep(LOOK_SECONDS)


def ssh_hooks(
    name: str, host: pulumi.Input[str], port: pulumi.Input[int], waited: SshWait
) -> pulumi.ResourceHookBinding:
    """For the options of the commands of component ``name`` that run on the machine. Needs the engine: the SDK's mocks
    have no hooks.
    """

    async def before(_: pulumi.ResourceHookArgs) -> None:
        if (reason := why_no_agent(os.environ.get(AGENT))) is not None:
            raise UnreachableError(f"{waited.machine}: {reason}")
        known = await pulumi.Output.all(host, port).future()
        if known is not None:
            await asyncio.to_thread(wait_for_ssh, str(known[0]), int(known[1]), waited, pulumi.log.info)

    hook = pulumi.ResourceHook(f"{name}-ssh-{waited.machine}", before)
    return pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])
