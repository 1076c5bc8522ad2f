"""Throws random stack files at the settings: whatever they hold, it has to end in a plan or in messages, soon.

    python -m tests.fuzz_settings --inputs 100000 --seed 1

Every input is made from the seed and its number alone, so `--first N --inputs 1` repeats one. A finding is printed with
its number, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from domain.fleet import check_fleet, parse_fleet
from domain.plan_report import fleet_report
from domain.stack_directory import decoded
from domain.stack_file import SIZE_LIMIT
from tests.domain.samples import DE, GIVEN, MN, SECRET, text

DEADLINE_SECONDS: Final = 2.0
"""Of the processor for one input: what else a machine does must not make a finding."""
MESSAGE_LIMIT: Final = 2000
CANARY: Final = "hunter2hunter2"
"""Stands where a secret stands; no message may show it."""

BASES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (("de", DE), ("mn", MN), ("mn", GIVEN))
SCALARS: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2, 10**30, -(10**200), 1.5, float("inf"), float("nan"), "", " ", "0", "no", "null",
    "~", "10.42.0.0/16", "10.42.0.1/16", "10.42.0.0/33", "10.42.0.0/-1", "10.0.0.0/8", "0.0.0.0/0", "100.64.0.0/10",
    "192.168.7.12", "256.1.1.1", "fd00::/48", "::1", "::ffff:10.0.0.1", "1" * 5000, "x" * 70_000, "ä.internal",
    "\u202e", "\u0661\u0660.0.0.0/8", "de", "mn", "us", "de.internal", "a..b", "-", "server", "v1.34.9+k3s1",
    "5f" * 32, "http://[::1]:99999/", "http://a:b@c", "https://x/?y", "http://\u212a", "ssh-ed25519 AAAA", "{}", "[]",
    "!!python", "&a", f"me:{CANARY}@example.net", f"https://me:{CANARY}@example.net:x", f"http://{CANARY}@c",
)  # fmt: skip
FRAGMENTS: Final = (
    "&a ", "*a", "!!binary |", "!tag ", "<<: *a", "? ", "- ", "---\n", "...\n", "%YAML 9.9\n", "{", "}", "[", "]",
    "'", '"', "\t", "\x00", "\x07", "\ufeff", "\u2028", "\ud800", "|\n", ">-\n", "#", ": ", "\r", "isthmus:",
    "hcloud:", "config:\n", "\n  isthmus:network:\n", "0x10", "1_000", "2026-01-01", ".nan", "1e999",
    "\U0001f600", "a" * 300,
)  # fmt: skip
NAMES: Final = (
    "network",
    "peers",
    "isthmus:network",
    "isthmus:x",
    "hcloud:token",
    "pod_cidr",
    "mtu",
    "",
    "a.b",
    "ü",
    "x" * 200,
    f"me:{CANARY}@example.net",
)


@dataclass
class Findings:
    """What a run came to."""

    inputs: int = 0
    accepted: int = 0
    messages: int = 0
    slowest_seconds: float = 0.0
    slowest_input: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def mutated_text(source: random.Random) -> str:
    """A right file with a few characters taken out, put in or doubled."""
    content = text(source.choice(BASES)[1])
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(content) + 1)
        match source.randrange(4):
            case 0:
                content = content[:at] + content[at + source.randint(1, 30) :]
            case 1:
                content = content[:at] + source.choice(FRAGMENTS) + content[at:]
            case 2:
                content = content[:at] + content[at : at + source.randint(1, 200)] + content[at:]
            case _:
                content = (
                    content[:at]
                    + chr(source.choice((source.randrange(128), source.randrange(0x110000))))
                    + content[at:]
                )
    return content


def anything(source: random.Random, depth: int = 0) -> Any:
    """A random value, mostly of the kind that stands in stack files."""
    kind = source.randrange(10)
    if kind == 0 and depth < 5:
        return [anything(source, depth + 1) for _ in range(source.randint(0, 4))]
    if kind == 1 and depth < 5:
        return {source.choice(NAMES): anything(source, depth + 1) for _ in range(source.randint(0, 4))}
    if kind == 2:
        prefix = source.choice((0, 8, 10, 12, 16, 20, 23, 24, 26, 29, 30, 32, 33))
        return f"{source.choice((10, 100, 172, 192, 224, 0))}.{source.randrange(256)}.0.0/{prefix}"
    if kind == 3:
        return source.randint(-10, 70_000)
    return source.choice(SCALARS)


def mutated_settings(source: random.Random) -> str:
    """A right file with a few settings put to something else, taken out or added."""
    config: Any = json.loads(json.dumps(source.choice(BASES)[1]))
    for _ in range(source.randint(1, 3)):
        place: Any = config
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = source.choice(keys)
            if isinstance(place[key], dict | list) and source.random() < 0.7:
                place = place[key]
                continue
            match source.randrange(5):
                case 0:
                    del place[key]
                case 1 if isinstance(place, dict):
                    place[source.choice(NAMES)] = anything(source)
                case 2 if place[key] == SECRET:
                    place[key] = source.choice((CANARY, {"secure": CANARY}, [CANARY], {"secure": [CANARY]}))
                case _:
                    place[key] = anything(source)
            break
    return yaml.safe_dump({"config": config}, sort_keys=False, allow_unicode=source.random() < 0.5)


def random_bytes(source: random.Random) -> bytes:
    """Bytes without any sense."""
    return source.randbytes(source.randint(0, 300))


def broken_bytes(source: random.Random) -> bytes:
    """A right file with wrong bytes, or in another encoding."""
    content = text(source.choice(BASES)[1])
    if source.random() < 0.3:
        return content.encode(source.choice(("utf-16", "utf-32", "utf-8-sig", "cp037")))
    data = bytearray(content.encode())
    for _ in range(source.randint(1, 5)):
        data[source.randrange(len(data))] = source.randrange(256)
    return bytes(data)


def nested(source: random.Random) -> str:
    """Depth, length, and documents that grow when they are read."""
    match source.randrange(5):
        case 0:
            return "config: " + source.choice("[{") * source.randint(1, 100_000)
        case 1:
            return "config:\n" + "".join(" " * n + f"a{n}:\n" for n in range(1, source.randint(2, 500)))
        case 2:
            lines = [f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
            return "config:\n  a0: &a0 [x, x]\n" + "\n".join(lines)
        case 3:
            return "config:\n" + "".join(f"  isthmus:k{n}: {n}\n" for n in range(source.randint(1, 3000)))
        case _:
            return "#" * source.randint(SIZE_LIMIT - 2, SIZE_LIMIT + 2)


LONG: Final = (
    ("isthmus:peers", "[", "]"),
    ("isthmus:hetzner", "{api_allowed_cidrs: [", "]}"),
    ("isthmus:hetzner", "{labels: {", "}}"),
    ("isthmus:on_premise", "{machines: [", "]}"),
    ("isthmus:on_premise", "{machines: [{", "}]}"),
    ("isthmus:network", "{", "}"),
    ("isthmus:network", "{pod_cidr: [", "]}"),
    ("isthmus:k3s", "{server_config: {disable: [", "]}}"),
    ("isthmus:netbird", "{agent_env: {", "}}"),
    ("isthmus:dns", "{forward_zones: {", "}}"),
    ("isthmus:dns", "{forward_zones: {a: [", "]}}"),
    ("isthmus:mirrors", "{registries: {", "}}"),
    ("isthmus:cilium", "{values: {bpf: {", "}}}"),
    ("isthmus:cilium", "{values: {" + "x" * 5000 + ": [", "]}}"),
)
ENTRIES: Final = ("a", "1", "", "{}", "{a: 1}", "[]", "10.0.0.0/8", "coredns", "-", "mn", '""', "a b")


def long_list(source: random.Random) -> str:
    """A list or an object as long as a file may be."""
    key, before, after = source.choice(LONG)
    kept = {name: value for name, value in source.choice(BASES)[1].items() if name != key}
    before = f"{text(kept)}  {key}: {before}"
    room = source.randint(1, SIZE_LIMIT) - len(before.encode()) - len(after) - 1
    values = [source.choice(ENTRIES) for _ in range(source.randint(1, 3))]
    numbered = source.random() < 0.5
    parts: list[str] = []
    while room > 0:
        value = values[len(parts) % len(values)]
        name = f"a{len(parts)}" if numbered else "a"
        parts.append(f"{value}," if before.endswith("[") else f"{name}: {value},")
        room -= len(parts[-1])
    return f"{before}{''.join(parts[:-1])}{after}\n"


KINDS: Final[tuple[tuple[Callable[[random.Random], str | bytes], int], ...]] = (
    (mutated_text, 40),
    (mutated_settings, 45),
    (broken_bytes, 8),
    (random_bytes, 6),
    (nested, 1),
    (long_list, 1),
)


def one_input(seed: int, number: int) -> tuple[str, bytes]:
    """The input of this number, and the kind it is of."""
    source = random.Random(f"{seed}:{number}")
    make = source.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    made = make(source)
    return make.__name__, made if isinstance(made, bytes) else made.encode("utf-8", "surrogatepass")


def try_input(content: bytes) -> tuple[bool, int]:
    """Reads it as the stack file of mn beside a right one; whether it was accepted, and the number of messages.

    Raises whatever the settings raise, and AssertionError for a message that is not one.
    """
    fleet = parse_fleet({"de": text(DE), "mn": decoded(content)})
    problems = check_fleet(fleet)
    for problem in problems:
        said = str(problem)
        assert said.isprintable(), f"not printable: {said!r}"
        assert len(said) < MESSAGE_LIMIT, f"{len(said)} characters"
        assert problem.setting, "no setting"
        assert problem.rule, "no rule"
        assert problem.fix, "no fix"
        assert CANARY not in said, "shows a secret"
        json.dumps(problem.as_json())
    if not problems:
        json.dumps(fleet_report(fleet.stacks).as_json())
    return not problems, len(problems)


def run(*, inputs: int, seed: int, first: int = 0, report: Callable[[str], None] = print) -> Findings:
    """Tries that many inputs and notes what went wrong."""
    findings = Findings()
    for number in range(first, first + inputs):
        kind, content = one_input(seed, number)
        start = time.process_time()
        try:
            accepted, messages = try_input(content)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the finding)
            accepted, messages = False, 0
            findings.failures.append(f"input {number} ({kind}): {type(error).__name__}: {error}"[:500])
            report(findings.failures[-1])
        seconds = time.process_time() - start
        if seconds > DEADLINE_SECONDS:
            findings.failures.append(f"input {number} ({kind}): {seconds:.1f} s")
            report(findings.failures[-1])
        findings.inputs += 1
        findings.accepted += accepted
        findings.messages += messages
        findings.kinds[kind] += 1
        if seconds > findings.slowest_seconds:
            findings.slowest_seconds, findings.slowest_input = seconds, number
    return findings


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_settings", description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--seed", type=int, default=1, help="where the random numbers start (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first input (default: 0)")
    arguments = parser.parse_args()
    start = time.monotonic()
    findings = run(inputs=arguments.inputs, seed=arguments.seed, first=arguments.first)
    print(
        f"{findings.inputs} inputs in {time.monotonic() - start:.0f} s, seed {arguments.seed}: "
        f"{findings.accepted} accepted, {findings.messages} messages, {len(findings.failures)} failures; "
        f"slowest {findings.slowest_seconds:.2f} s (input {findings.slowest_input})"
    )
    print(", ".join(f"{count} {kind}" for kind, count in sorted(findings.kinds.items())))
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main())
