"""Asks Hetzner, before anything is made, whether it has what a stack wants: location, server types, image.

It owns the asking, in parallel and not for long; what the answers mean is ``domain/hetzner_offer.py``'s. An API that is
away, or answers something else, costs a warning: the plan is a plan without it. A token that is refused is an error,
since nothing of the stack could be made.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import pulumi

from components.configuration import StackConfiguration
from components.hetzner_client import HetznerClient, HetznerError
from components.own_address import own_address
from domain.places.hetzner.catalogue import LIST_DATE
from domain.places.hetzner.offer import Judgement, Offer, judged, read_offer
from domain.places.hetzner.place import HCLOUD_TOKEN
from domain.places.hetzner.sources import shut_out
from domain.places.registry import StackSettings
from domain.plan import AddressPlan
from domain.problems import Problem
from domain.secret_rules import secret_setting

ANSWER_SECONDS: Final = 2.0
"""For all of it: who waits for a preview should not wait for somebody who does not answer."""
UNAUTHORIZED: Final = 401

T = TypeVar("T")


async def refuse_what_hetzner_lacks(configuration: StackConfiguration, plan: AddressPlan) -> None:
    """Raises ``pulumi.RunError`` with everything of the stack that Hetzner has not got, and warns of what is near to
    it. Does nothing for a stack that is not at Hetzner.
    """
    settings, token = configuration.settings, configuration.values.get(HCLOUD_TOKEN.key)
    if settings.hetzner is None or token is None:
        return
    running = configuration.outputs.get("node_ips")
    judgement = await look_up(settings, plan, running if isinstance(running, Mapping) else {}, token)
    if judgement.problems:
        raise configuration.refusal(judgement.problems)
    hetzner, own = settings.hetzner, own_address()
    outside = None
    if own is not None:
        outside = shut_out(settings.stack, own, hetzner.api_allowed_cidrs, hetzner.ssh_allowed_cidrs)
    for remark in (*judgement.remarks, *([] if outside is None else [outside])):
        pulumi.log.warn(remark)


async def look_up(
    settings: StackSettings,
    plan: AddressPlan,
    running: Collection[str],
    token: str,
    *,
    answer_seconds: float = ANSWER_SECONDS,
) -> Judgement:
    """What Hetzner's API says of a Hetzner stack; ``running`` as of :func:`domain.places.hetzner.offer.judged`."""
    stack = settings.stack
    images = {node.order.image for node in plan.nodes if node.order is not None}
    client = HetznerClient(token, settings.hcloud.endpoint, timeout_seconds=answer_seconds, pauses=())
    try:
        offer = await asyncio.wait_for(_asked(client, images), answer_seconds)
    except TimeoutError:
        return _unasked(stack, f"no answer within {answer_seconds:.0f} s")
    except HetznerError as error:
        return _refused_token(stack) if error.status == UNAUTHORIZED else _unasked(stack, str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _unasked(stack, f"an answer of another form, {type(error).__name__}")
    return judged(settings.stack, settings.hetzner, plan.nodes, running, offer, datetime.now(UTC))


async def _asked(client: HetznerClient, wanted: Collection[str]) -> Offer:
    def found(image: str) -> list[dict[str, Any]]:
        return client.image(image) if image.isdecimal() else client.all_of("images", name=image)

    locations, server_types, *images = await asyncio.gather(
        in_daemon(lambda: client.all_of("locations")),
        in_daemon(lambda: client.all_of("server_types")),
        *(in_daemon(functools.partial(found, image)) for image in sorted(wanted)),
    )
    return read_offer(locations, server_types, dict(zip(sorted(wanted), images, strict=True)))


def _refused_token(stack: str) -> Judgement:
    rule = "is refused by Hetzner's API; it is wrong, or was revoked"
    fix = f"set a new one: `{HCLOUD_TOKEN.command.format(stack=stack)}`"
    return Judgement((Problem(stack, secret_setting(HCLOUD_TOKEN), "", rule, fix),), ())


def _unasked(stack: str, reason: str) -> Judgement:
    remark = (
        f"{stack}: Hetzner could not be asked for locations, server types and images, which were checked by the list "
        f"of {LIST_DATE} only: {reason}"
    )
    return Judgement((), (remark,))


async def in_daemon(work: Callable[[], T]) -> T:
    """The result of blocking work in a thread that nobody waits for at the end of the process: a name server that is
    silent holds a request for longer than its time-out.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(outcome: Callable[[], None]) -> None:
        # Nobody may wait for it any more, or the loop may have ended.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else outcome())

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 (it is raised where the result is awaited)
            tell(functools.partial(future.set_exception, error))
        else:
            tell(functools.partial(future.set_result, result))

    threading.Thread(target=run, daemon=True).start()
    return await future
