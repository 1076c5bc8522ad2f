"""A process that is told on its standard input, and tells on its output, line by line, until its input ends."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence


class Piped:
    """A running one. Whoever makes it ends it by :meth:`end`. It has a process group of its own, so that Ctrl-C does
    not end it before its owner does.
    """

    def __init__(
        self,
        command: Sequence[str],
        read: Callable[[str], None],
        *,
        ended: Callable[[], None] = lambda: None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``read`` gets each line, in a thread of its own, and after the last one ``ended`` is called there."""
        self._read, self._ended = read, ended
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._lines, daemon=True)
        self._reader.start()

    def _lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._read(line)
        self._ended()

    def tell(self, line: str) -> None:
        """Raises BrokenPipeError when it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.poll() is not None

    def complaint(self, limit: int) -> str:
        """The end of what it wrote to standard error, characters up to ``limit``; empty while it runs."""
        assert self._process.stderr is not None
        return self._process.stderr.read().strip()[-limit:] if self.has_ended() else ""

    def end(self, seconds: float) -> None:
        """Ends its input, and it after that many seconds if it did not end by itself."""
        process = self._process
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reader.join()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
