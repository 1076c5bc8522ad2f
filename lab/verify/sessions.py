"""Talking to a probe pod: one `kubectl exec` that stays open, so that a question costs milliseconds."""

from __future__ import annotations

import itertools
import json
import queue
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import project
from lab.errors import LabError
from lab.kubernetes import Cluster
from lab.piped import Piped

AGENT = Path(__file__).with_name("pod_agent.py")
END_SECONDS = 5.0
SPARE_SECONDS = 20.0
"""An answer may take this much longer than the deadline that the request itself has."""


class Session:
    """An agent in a pod. A context manager; its end ends the agent. Threads may ask at the same time."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str) -> None:
        self.cluster = cluster
        self.pod = pod
        self._namespace = namespace
        self._process: Piped | None = None
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.Queue[dict[str, Any] | None]] = {}
        """Who waits for an answer, by the request's id; None instead of it says that the agent has ended."""
        self._lock = threading.Lock()
        self._ended = False

    def __enter__(self) -> Session:
        """Starts the agent."""
        command = self.cluster.command(
            "exec", "-i", f"--namespace={self._namespace}", self.pod, "--", "python3", "-u", "-c", AGENT.read_text()
        )
        self._process = Piped(
            command, self._read, ended=self._nobody_answers, environment=project.environment(self.cluster.tools)
        )
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Ends the agent: it stops when its input ends."""
        if self._process is not None:
            self._process.end(END_SECONDS)
        self._process = None

    def _read(self, line: str) -> None:
        answer = json.loads(line)
        with self._lock:
            waiting = self._waiting.pop(answer.pop("id"), None)
        # One that came too late has nobody who waits.
        if waiting is not None:
            waiting.put(answer)

    def _nobody_answers(self) -> None:
        with self._lock:
            self._ended = True
            for waiting in self._waiting.values():
                waiting.put(None)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends a request and returns the answer; {"ok": False, "error": ...} when none comes."""
        process = self._process
        if process is None:
            raise LabError(f"there is no open session with pod {self.pod} of {self.cluster.name}")
        number = next(self._numbers)
        mine: queue.Queue[dict[str, Any] | None] = queue.Queue()
        try:
            with self._lock:
                self._waiting[number] = mine
                if self._ended:
                    mine.put(None)
                process.tell(json.dumps({"id": number, "do": do, **request}))
            answer = mine.get(timeout=float(request.get("seconds", 0)) + float(request.get("lasts", 0)) + SPARE_SECONDS)
        except BrokenPipeError:
            answer = None
        except queue.Empty:
            return {"ok": False, "error": f"pod {self.pod} of {self.cluster.name} gave no answer"}
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        return self._how_it_ended(process) if answer is None else answer

    def _how_it_ended(self, process: Piped) -> dict[str, Any]:
        with self._lock:
            said = process.complaint(300)
        return {"ok": False, "error": f"the session with pod {self.pod} of {self.cluster.name} ended: {said}"}
