"""Faults that tests order: a request or an action goes wrong once, or a few times, at a chosen place.

They are ordered by a JSON file, never on the API's own port. The file is read again whenever it changes, and then
every fault in it counts from the start. Its form:

    {"faults": [
      {"method": "POST", "path": "^/servers$", "nth": 1, "count": 1, "answer": 500},
      {"path": "^/actions", "count": 3, "answer": 429},
      {"method": "POST", "path": "^/servers$", "answer": "drop", "when": "after"},
      {"action": "start_server", "message": "no such luck"}
    ]}

Requests: `method` and `path` (a regular expression on the path without `/v1`, found anywhere in it) choose them; the
`nth` one from now on is hit, and `count` in all. `answer` is a status code (an error of the API with its usual code),
`hang` (no answer for `seconds`, then the connection closes) or `drop` (the connection closes). `when` is `before`
(default: nothing is done) or `after`: the request is carried out, and the client never hears of it. Actions: the `nth`
action with this command fails with `message` instead of being carried out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    412: "resource_unavailable",
    422: "service_error",
    423: "locked",
    429: "rate_limit_exceeded",
    500: "server_error",
    503: "unavailable",
    504: "timeout",
}


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    nth: Annotated[int, Field(ge=1)] = 1
    count: Annotated[int, Field(ge=1)] = 1


class RequestFault(_Fault):
    """A fault of requests; see the module."""

    path: str
    method: str | None = None
    answer: Annotated[int, Field(ge=400, le=599)] | Literal["hang", "drop"]
    when: Literal["before", "after"] = "before"
    seconds: Annotated[float, Field(gt=0)] = 3600.0
    code: str | None = None
    message: str = "ordered by a test"

    def matches(self, method: str, path: str) -> bool:
        """Tell whether the request is one that this fault counts."""
        return self.method in (None, method) and re.search(self.path, path) is not None


class ActionFault(_Fault):
    """A fault of actions; see the module."""

    action: str
    message: str = "ordered by a test"

    def matches(self, command: str) -> bool:
        """Tell whether the action is one that this fault counts."""
        return command == self.action


class FaultFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    faults: list[RequestFault | ActionFault] = []


@dataclass
class Faults:
    """The ordered faults and how often each was met. Without a file there are none."""

    path: Path | None = None
    problem: str | None = None
    _version: tuple[int, int, int] | None = None
    _faults: list[RequestFault | ActionFault] = field(default_factory=list)
    _met: list[int] = field(default_factory=list)

    def for_request(self, method: str, path: str) -> RequestFault | None:
        """Count a request and return the fault that hits it."""
        self._reload()
        hit: RequestFault | None = None
        for position, fault in enumerate(self._faults):
            if isinstance(fault, RequestFault) and fault.matches(method, path) and self._meet(position):
                hit = hit or fault
        return hit

    def for_action(self, command: str) -> ActionFault | None:
        """Count an action and return the fault that hits it."""
        self._reload()
        hit: ActionFault | None = None
        for position, fault in enumerate(self._faults):
            if isinstance(fault, ActionFault) and fault.matches(command) and self._meet(position):
                hit = hit or fault
        return hit

    def _meet(self, position: int) -> bool:
        self._met[position] += 1
        fault = self._faults[position]
        return fault.nth <= self._met[position] < fault.nth + fault.count

    def _reload(self) -> None:
        if self.path is None:
            return
        try:
            status = self.path.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version == self._version:
                return
            self._faults = TypeAdapter(FaultFile).validate_json(self.path.read_bytes()).faults
            self.problem = None
        except FileNotFoundError:
            version, self._faults, self.problem = None, [], None
        except ValidationError as error:
            self._faults, self.problem = [], f"{self.path} is not a file of faults: {error}"
        self._version = version
        self._met = [0] * len(self._faults)
