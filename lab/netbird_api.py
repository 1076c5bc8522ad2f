"""A small client of NetBird's REST API, for the lab's own use: which objects are there, and policies for measuring.

The program makes its NetBird objects with code of its own (components/); this client shares nothing with it, so that a
check of the lab can't repeat a mistake of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab import topology
from lab.errors import LabError
from lab.inside import http_request


class NetBirdApiError(LabError):
    """NetBird's server answered with an error; the text carries its answer, never the token."""

    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        super().__init__(f"NetBird answered {status} to {method} {path}: {body.strip()[:500]}")
        self.status = status


@dataclass(frozen=True)
class NetBirdApi:
    """The API of the lab's NetBird server; ``repr`` does not show the token."""

    token: str
    namespace: str = topology.WORKSTATION_NAMESPACE

    def __repr__(self) -> str:
        """Without the token."""
        return f"NetBirdApi(namespace={self.namespace!r})"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call, for example ``call("GET", "/api/peers")``; raises :class:`NetBirdApiError` for a refusal and
        :class:`~lab.errors.LabError` when no answer comes.
        """
        try:
            answer = http_request(
                self.namespace,
                method,
                str(topology.NETBIRD_ADDRESS),
                topology.NETBIRD_PORT,
                path,
                body=body,
                headers={"Authorization": f"Token {self.token}", "Accept": "application/json"},
            )
        except OSError as error:
            raise LabError(f"NetBird gave no answer to {method} {path}: {error}") from error
        if not 200 <= answer.status < 300:
            raise NetBirdApiError(method, path, answer.status, answer.body.decode(errors="replace"))
        return answer.json()

    def list(self, kind: str) -> list[Mapping[str, Any]]:
        """All objects of a kind: peers, groups, policies, networks, setup-keys, dns/zones."""
        found = self.call("GET", f"/api/{kind}")
        return list(found or [])

    def create(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Makes an object and returns it as the server sees it."""
        made: Mapping[str, Any] = self.call("POST", f"/api/{kind}", body)
        return made

    def delete(self, kind: str, identifier: str) -> None:
        """Removes an object; one that is gone already is no error."""
        try:
            self.call("DELETE", f"/api/{kind}/{identifier}")
        except NetBirdApiError as error:
            if error.status != 404:
                raise

    def named(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """The object of that name, or None."""
        return next((found for found in self.list(kind) if found.get("name") == name), None)
