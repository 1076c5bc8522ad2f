"""Running programs: output line by line, and nothing left behind when we are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KEPT_LINES = 40


def stream(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    on_line: Callable[[str], bool] | None = None,
) -> tuple[int, str]:
    """Runs the command with stderr joined to stdout; returns its exit code and the last lines of its output.

    ``on_line`` returns True for a line that it understood; such lines are left out of the result, which is what an
    error message shows. The command gets a process group of its own, which is killed when an exception leaves this
    function.
    """
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    process = subprocess.Popen(
        command,
        env=None if environment is None else dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        with process.stdout:
            for line in process.stdout:
                text = line.rstrip()
                if on_line is None or not on_line(text):
                    tail.append(text)
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return code, "\n".join(tail)


def capture(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    deadline_seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a short command to its end and returns what it wrote, stdout and stderr apart."""
    return subprocess.run(
        command,
        env=None if environment is None else dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=deadline_seconds,
        check=False,
    )
