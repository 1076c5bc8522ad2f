"""Talking to a probe pod: one `kubectl exec` that stays open, so that a question costs milliseconds."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import project
from lab.errors import LabError
from lab.kubernetes import Cluster

AGENT = Path(__file__).with_name("pod_agent.py")
SPARE_SECONDS = 20.0
"""An answer may take this much longer than the deadline that the request itself has."""


class Session:
    """An agent in a pod. A context manager; its end ends the agent. Threads that ask at the same time wait in turn."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str) -> None:
        self.cluster = cluster
        self.pod = pod
        self._namespace = namespace
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._asking = threading.Lock()

    def __enter__(self) -> Session:
        """Starts the agent."""
        command = self.cluster.command(
            "exec", "-i", f"--namespace={self._namespace}", self.pod, "--", "python3", "-u", "-c", AGENT.read_text()
        )
        self._process = subprocess.Popen(
            command,
            env=project.environment(self.cluster.tools),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Ends the agent: it stops when its input ends."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reader.join()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        self._process = None

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends a request and returns the answer; {"ok": False, "error": ...} when none comes."""
        with self._asking:
            return self._ask(do, request)

    def _ask(self, do: str, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None:
            raise LabError(f"there is no open session with pod {self.pod} of {self.cluster.name}")
        try:
            process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            process.stdin.flush()
            line = self._answers.get(timeout=float(request.get("seconds", 0)) + SPARE_SECONDS)
        except BrokenPipeError:
            line = None
        except queue.Empty:
            return {"ok": False, "error": f"pod {self.pod} of {self.cluster.name} gave no answer"}
        if line is None:
            code = process.poll()
            said = process.stderr.read().strip()[-300:] if code is not None and process.stderr is not None else ""
            return {"ok": False, "error": f"the session with pod {self.pod} of {self.cluster.name} ended: {said}"}
        answer: dict[str, Any] = json.loads(line)
        return answer
