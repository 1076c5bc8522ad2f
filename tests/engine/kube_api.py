"""A whole control plane for tests: the API server with the real controllers, and the few calls that tests make.

There are no nodes: who plays them is ``kubelet.py``.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.engine.api_server import ApiServer
from toolchain import ensure

Json = dict[str, Any]
DEADLINE_SECONDS: Final = 120.0


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(f"{status}: {str(answer)[:500]}")
        self.status = status


def until(condition: Callable[[], object], what: str, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Returns once the condition holds; an answer that is an error counts as no. Fails at the deadline."""
    end = time.monotonic() + deadline_seconds
    said = "no"
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, Refused, http.client.HTTPException) as error:
            said = str(error)
        time.sleep(0.05)
    raise AssertionError(f"not within {deadline_seconds:.0f} s: {what} ({said})")


class KubeApi(ApiServer):
    """The API server with kube-controller-manager beside it."""

    def __init__(self, directory: Path, *, services: str) -> None:
        super().__init__(directory, services=services)
        self.kubeconfig_file = directory / "kubeconfig"
        self._away: list[str] | None = None

    def wait(self) -> None:
        """Returns once it serves; starts the controllers, which end when the server is away for long."""
        super().wait()
        self.kubeconfig_file.touch(mode=0o600)
        self.kubeconfig_file.write_text(self.kubeconfig, encoding="utf-8")
        self._start(
            ensure(["kubernetes"])["kubernetes"] / "kube-controller-manager",
            *(f"--kubeconfig={self.kubeconfig_file}", "--leader-elect=false", "--secure-port=0"),
            # Nobody renews the leases of nodes here.
            "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-taint-eviction-controller",
        )

    def away(self) -> None:
        """The server goes; what it knows stays."""
        process = next(candidate for candidate in self._processes if "kube-apiserver" in str(_arguments(candidate)[0]))
        process.kill()
        process.wait()
        self._processes.remove(process)
        self._away = _arguments(process)

    def back(self) -> None:
        """The server comes back."""
        if self._away is not None:
            self._start(*self._away)
            self._away = None
            super().wait()

    def get(self, path: str) -> Any:
        """An object or a list."""
        return self._ask("GET", path)

    def items(self, path: str) -> list[Json]:
        """What is in a list."""
        return list(self.get(path)["items"])

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Makes an object; one that is there already is fine."""
        self._ask("POST", path, body, fine=409)

    def edit(self, path: str, body: Mapping[str, Any], *, manager: str = "kubectl-edit") -> None:
        """Changes an object as a person does with `kubectl edit`, or as another manager."""
        self._ask("PATCH", f"{path}?fieldManager={manager}", body, kind="application/merge-patch+json")

    def delete(self, path: str, *, now: bool = False) -> None:
        """Deletes an object; one that is gone is fine. ``now``: without the grace of a pod."""
        self._ask("DELETE", path, {"gracePeriodSeconds": 0} if now else None, fine=404)

    def is_gone(self, path: str) -> bool:
        """Whether there is no such object."""
        return self.call("GET", path)[0] == 404

    def _ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json", fine: int = 0) -> Any:
        status, answer = self.call(method, path, body, kind=kind)
        if status >= 400 and status != fine:
            raise Refused(status, answer)
        return answer


def _arguments(process: subprocess.Popen[bytes]) -> list[str]:
    assert isinstance(process.args, list | tuple)
    return [str(argument) for argument in process.args]
