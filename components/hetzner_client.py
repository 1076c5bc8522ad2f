"""A small client of Hetzner's API: the calls that the provider does not make for this program.

It owns login, pages, the end of what was begun, and errors; the wire is ``http_client.py``'s. It does not know Pulumi.
Shapes and paths are those of https://docs.hetzner.cloud.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from components.http_client import (
    NOT_FOUND,
    REQUEST_TIMEOUT_SECONDS,
    RETRY_PAUSES_SECONDS,
    HttpClient,
    NoAnswer,
    RequestError,
    again_and_again,
)

DEFAULT_ENDPOINT: Final = "https://api.hetzner.cloud/v1"
DEADLINE_SECONDS: Final = 120.0
"""For the end of an action or a deletion."""
PAGE_SIZE: Final = 50
"""The most that the API gives at once."""
_POLL_SECONDS: Final = 1.0
CONFLICT: Final = 409
LOCKED: Final = 423
"""Another action still runs on the object."""


class HetznerError(RequestError):
    """A request that Hetzner refused, in the API's own words, or an object that stands in the way.

    The text never holds the token.
    """

    @property
    def worth_retrying(self) -> bool:
        """Also when Hetzner is at work on the object."""
        return super().worth_retrying or self.status in (CONFLICT, LOCKED)


class HetznerClient:
    """Talks to one project. ``endpoint`` as of the provider, with the path ``/v1``.

    ``timeout_seconds`` is for each step of a request, ``pauses`` are the seconds between its tries, and
    ``deadline_seconds`` is for the end of what a request has begun.
    """

    def __init__(
        self,
        token: str,
        endpoint: str | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        deadline_seconds: float = DEADLINE_SECONDS,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        pauses: Sequence[float] = RETRY_PAUSES_SECONDS,
    ) -> None:
        self._http = HttpClient(
            (endpoint or DEFAULT_ENDPOINT).rstrip("/"),
            {"Authorization": f"Bearer {token}"},
            timeout_seconds=timeout_seconds,
        )
        self._sleep = sleep
        self._deadline_seconds = deadline_seconds
        self._pauses = tuple(pauses)

    def by_name(self, kind: str, name: str) -> list[dict[str, Any]]:
        """The objects of this name; ``kind`` is the API's collection, such as ``servers``."""
        answer = self._request("GET", f"/{kind}?name={urllib.parse.quote(name)}")
        return list((answer or {})[kind])

    def all_of(self, kind: str, **filters: str) -> list[dict[str, Any]]:
        """The objects of a collection that the filters leave, from all of its pages."""
        found: list[dict[str, Any]] = []
        page: int | None = 1
        while page is not None:
            query = urllib.parse.urlencode({**filters, "per_page": PAGE_SIZE, "page": page})
            answer = self._request("GET", f"/{kind}?{query}") or {}
            found += answer[kind]
            page = answer.get("meta", {}).get("pagination", {}).get("next_page")
        return found

    def image(self, id_: str) -> list[dict[str, Any]]:
        """The image of this id, if there is one."""
        answer = self._request("GET", f"/images/{id_}", missing_is_fine=True)
        return [dict(answer["image"])] if answer else []

    def network(self, id_: int) -> dict[str, Any] | None:
        """One network, None when there is none."""
        answer = self._request("GET", f"/networks/{id_}", missing_is_fine=True)
        return dict(answer["network"]) if answer else None

    def server(self, id_: int) -> dict[str, Any] | None:
        """The server as the API shows it; None when it is gone."""
        answer = self._request("GET", f"/servers/{id_}", missing_is_fine=True)
        return dict(answer["server"]) if answer else None

    def act(self, path: str, body: Mapping[str, Any]) -> None:
        """Asks for an action and waits for its end. Raises HetznerError with the API's words when it fails."""
        answer = self._request("POST", path, body)
        action = (answer or {})["action"]["id"]

        def done() -> bool:
            found = (self._request("GET", f"/actions/{action}") or {})["action"]
            if found["status"] == "error":
                raise HetznerError(f"Hetzner API: {path}: {found['error']['message']}")
            return bool(found["status"] == "success")

        kind, id_, _, name = path.strip("/").split("/")
        self._until(done, f"the action {name} of {kind}/{id_} has not ended")

    def delete_subnet(self, network: int, ip_range: str) -> None:
        """Deletes a subnet and waits until it is gone."""
        self._request("POST", f"/networks/{network}/actions/delete_subnet", {"ip_range": ip_range})
        self._until(
            lambda: not has_subnet(self.network(network), ip_range),
            f"the subnet {ip_range} of networks/{network} is still there after its deletion",
        )

    def delete(self, kind: str, id_: int) -> None:
        """Deletes an object and waits until it is gone; a server takes a while, and keeps its name till then."""
        self._until(lambda: self._try_delete(kind, id_), f"{kind}/{id_} is still there after its deletion")

    def _try_delete(self, kind: str, id_: int) -> bool:
        if self._request("GET", f"/{kind}/{id_}", missing_is_fine=True) is None:
            return True
        # 423: an action still runs on it, most likely the one that made it.
        self._request("DELETE", f"/{kind}/{id_}", missing_is_fine=True, locked_is_fine=True)
        return False

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + self._deadline_seconds
        while not done():
            if time.monotonic() >= end:
                raise HetznerError(
                    f"Hetzner: {otherwise} within {self._deadline_seconds:.0f} s; "
                    "the next `pulumi up` goes on from there"
                )
            self._sleep(_POLL_SECONDS)

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        missing_is_fine: bool = False,
        locked_is_fine: bool = False,
    ) -> dict[str, Any] | None:
        fine = {NOT_FOUND} if missing_is_fine else set()
        fine |= {LOCKED} if locked_is_fine else set()
        return again_and_again(lambda: self._try(method, path, body, fine), self._pauses, self._sleep)

    def _try(
        self, method: str, path: str, body: Mapping[str, Any] | None, fine: Collection[int]
    ) -> dict[str, Any] | None:
        where = f"Hetzner API: {method} {path}"
        try:
            answer = self._http.ask(method, path, body)
        except NoAnswer as reason:
            raise HetznerError(f"{where}: no answer: {reason}") from None
        if answer.status in fine:
            return None
        if answer.refused:
            raise HetznerError(f"{where}: {answer.status}: {answer.text.strip()[:200]}", answer.status)
        try:
            found: dict[str, Any] = json.loads(answer.text) if answer.body else {}
        except ValueError:
            said = "the answer is not JSON; is the address in hcloud:endpoint right?"
            raise HetznerError(f"{where}: {said}", answer.status) from None
        return found


def has_subnet(network: Mapping[str, Any] | None, ip_range: str) -> bool:
    """Whether the network, as the API shows it, has a subnet of exactly this range."""
    return network is not None and any(subnet["ip_range"] == ip_range for subnet in network["subnets"])
