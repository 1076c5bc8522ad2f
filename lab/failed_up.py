"""Whether work that failed is worth another try: what was late or refused a connection may go well the next time, what
was refused for what it is will not.

Pure: from what was said and the exit code to a decision with its reason. Nothing is tried again that is not known to
be a matter of time: an error that nobody has seen before is shown at once, as it is.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

ATTEMPTS: Final = 3
"""How often a `pulumi up`, or another step that may be late, is run at most."""
PAUSE_SECONDS: Final = (5.0, 30.0)
"""Before the second and the third run: what refused a connection at once does so again a moment later."""

_PASSING: Final = (
    # A deadline of the program, of the Kubernetes provider, of Helm, of a Job, of an API.
    r"deadline ?exceeded|timed[ -]out|time-?out waiting|TLS handshake timeout|Client\.Timeout|i/o timeout",
    r"not (?:yet )?within \d+ (?:s|min)|did not (?:end|answer|come) (?:with)?in \d+|\bafter \d+ ?s(?:econds)?\b",
    # Nobody answers, or hangs up.
    r"connection (?:refused|reset|closed|timed out|lost)|broken pipe|no route to host|host is unreachable",
    r"network is unreachable|\bEOF\b|cluster is unreachable|can't be reached|Dial \d+/\d+ failed|gave no answer",
    r"GOAWAY|stream error: .* INTERNAL_ERROR|code = Unavailable|temporary failure (?:in name resolution|resolving)",
    # The other side says itself that it is not ready.
    r"etcdserver: (?:request timed out|leader changed|no leader)|apiserver not ready|\b50[234]\b",
    r"server is currently unable to handle|Service Unavailable|Bad Gateway|Too Many Requests|\b429\b",
    r"failed calling webhook|the object has been modified|rate limit",
    # A machine or a helper of the lab.
    r"went off while booting|ended by itself|did not start its init",
    # Helm, of an operation that was killed.
    r"another operation .* is in progress|cannot re-use a name that is still in use",
    # A `pulumi` of somebody else, whose end is waited for before the next try.
    r"stack is currently locked by",
    # apt beside another apt, and a Debian mirror that is being renewed.
    r"Could not get lock|Hash Sum mismatch",
)
_REFUSED: Final = (
    r"in the stack files; nothing was changed|Nothing was changed",
    r"\b40[013]\b|Unauthorized|is forbidden|Forbidden|permission denied|unable to authenticate|invalid token",
    r"host key (?:mismatch|verification)|certificate signed by unknown authority|certificate verify failed",
    r"\bis invalid\b|Invalid value|apply had \d+ conflict|an apply conflict|No space left on device",
    r"decrypt|incorrect passphrase|no Pulumi project|plugin .* not (?:installed|found)",
)
_CONSEQUENCE: Final = re.compile(
    r"^(?:update|preview|destroy|refresh) (?:failed|cancell?ed)$|^Resource monitor has terminated|^BAIL"
    r"|^resource monitor shut down|^operation cancell?ed$|^(?:rpc error: code = Canceled .*)?context cancell?ed$",
    re.IGNORECASE,
)
"""Errors that only say that there was another one."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST: Final = 300
_ORDINALS: Final = {2: "second", 3: "third"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do after a failure: ``again``, and the words that decided it."""

    again: bool
    reason: str


def judge(said: Sequence[str], code: int) -> Verdict:
    """What to do after a `pulumi` that said this, a line each, and ended with this code (negative: by that signal)."""
    errors = [text for text in errors_of(said) if not _CONSEQUENCE.search(_first_line(text))]
    if not errors:
        # A shell, and nsenter, give 128 and the number; Pulumi itself ends with 255 at most.
        number = -code if code < 0 else code - 128
        if 0 < number <= signal.SIGRTMAX:
            return Verdict(again=True, reason=f"it was ended by signal {number}")
        return Verdict(again=False, reason="it gave no reason")
    for text in errors:
        if not passing(text):
            return Verdict(again=False, reason=_shown(text))
    return Verdict(again=True, reason=_shown(errors[0]))


def passing(text: str) -> bool:
    """Whether an error is one of time: something was late, or did not answer."""
    return _any(_PASSING, text) and not _any(_REFUSED, text)


def _any(patterns: Sequence[str], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def tried_again(command: str, verdict: Verdict, attempt: int) -> str:
    """What is said before the next attempt."""
    return f"{command} failed: {verdict.reason}\nThat may pass: again ({attempt + 1} of {ATTEMPTS})."


def given_up(command: str, verdict: Verdict, attempt: int, log: str) -> str:
    """The error of a command that is not tried again."""
    tries = "" if attempt == 1 else f", for the {_ORDINALS[attempt]} time"
    return (
        f"{command} failed{tries}: {verdict.reason}\nAll that it said is above and in {log}. With the cause gone, "
        "`./isthmus lab up` goes on from there."
    )


def errors_of(said: Sequence[str]) -> list[str]:
    """The errors in what a `pulumi` said: those of its diagnostics, else all; each with the lines that belong to it."""
    lines = [_COLOUR.sub("", line).rstrip() for line in said]
    starts = [number for number, line in enumerate(lines) if line == "Diagnostics:"]
    return list(_blocks(lines[starts[-1] + 1 :] if starts else lines))


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    block: list[str] = []
    for line in lines:
        found = re.match(r"^(?:\s+|)(error|warning|info|debug): ?(.*)", line)
        ends = found or not line.strip() or not line.startswith((" ", "\t")) or re.match(r"^  \S.*\):$", line)
        if ends and block:
            yield "\n".join(block)
            block = []
        if found and found[1] == "error":
            block = [found[2]]
        elif block:
            block.append(line.strip())
    if block:
        yield "\n".join(block)


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()


def _shown(text: str) -> str:
    """An error on one line: its own words, the one that decides first where it has several."""
    lines = [line.strip(" \t*") for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not re.match(r"^\d+ errors? occurred:$", line)] or lines
    whole = " ".join(lines)
    return whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 3]}..."
