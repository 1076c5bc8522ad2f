"""What stands beside a failed test of the link: the last lines that tell of the way across, and nothing else."""

from __future__ import annotations

from pathlib import Path

from lab.errors import CommandFailed
from lab.kubernetes import Cluster
from lab.project import Tools
from tests.link.last_words import LINES, OF_A_CONNECTION, chosen, last_words, sources

DE = Cluster(name="de", tools=Tools(pulumi_bin=Path("/p"), kubectl=Path("/k")))
AGENT = "[pod/networkrouter-isthmus-de-1/netbird]"
SAID = "\n".join(
    [
        f"{AGENT} 2026-03-01T10:00:02Z 2026-03-01T10:00:02.1Z INFO peer/wg_watcher.go:80: WireGuard watcher started",
        f"{AGENT} 2026-03-01T10:00:03Z 2026-03-01T10:00:03.1Z WARN bind/activity.go:85: could not find record",
        "[pod/networkrouter-isthmus-de-2/netbird] 2026-03-01T10:00:01Z 2026-03-01T10:00:01.1Z INFO chosen route",
    ]
)


def test_lines_of_all_pods_come_by_time_and_only_those_of_the_connection() -> None:
    lines = chosen(SAID, OF_A_CONNECTION)
    assert [line.split(" ")[1] for line in lines] == ["2026-03-01T10:00:01Z", "2026-03-01T10:00:02Z"]


def test_the_last_ones_are_kept() -> None:
    said = "\n".join(f"{AGENT} 2026-03-01T10:00:{second:02}Z ICE {second}" for second in range(LINES + 5))
    assert [line.rsplit(" ", 1)[1] for line in chosen(said, OF_A_CONNECTION)] == [
        str(second) for second in range(5, LINES + 5)
    ]


def test_who_does_not_answer_keeps_nobody_from_telling() -> None:
    asked = []

    def ask(cluster: Cluster, namespace: str, selector: str) -> str:
        asked.append((cluster.name, namespace, selector))
        if selector.startswith("isthmus.dev/"):
            return SAID
        raise CommandFailed("no answer from the API server")

    told = last_words([DE], ask)
    assert asked == [("de", namespace, selector) for _, namespace, selector, _ in sources("de")]
    assert told.count("no answer from the API server") == len(asked) - 1
    assert "de, agents:\n[pod/networkrouter-isthmus-de-2" in told


def test_silence_is_told() -> None:
    assert last_words([DE], lambda *_: "").count("nothing of that kind since 3m") == len(sources("de"))
