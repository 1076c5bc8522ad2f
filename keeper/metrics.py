"""The status of a keeper as Prometheus reads it (text format 0.0.4). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Sample = tuple[dict[str, str], float]


def render(status: Mapping[str, Any]) -> str:
    """``status`` is what /status says."""
    lines: list[str] = []
    for name, kind, text, samples in _families(status):
        lines += [f"# HELP isthmus_keeper_{name} {text}", f"# TYPE isthmus_keeper_{name} {kind}"]
        for labels, value in samples:
            pairs = ",".join(f'{label}="{_escaped(given)}"' for label, given in sorted(labels.items()))
            lines.append(f"isthmus_keeper_{name}{{{pairs}}} {value:g}" if pairs else f"isthmus_keeper_{name} {value:g}")
    return "\n".join(lines) + "\n"


def _families(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[Sample]]]:
    peers, me = status["peers"], status["node"]
    routers = [
        ({"peer": peer, "router": name}, router)
        for peer, view in sorted(peers.items())
        for name, router in sorted(view["routers"].items())
    ]
    yield (
        "node_in_order",
        "gauge",
        "1 when this node forwards, as far as can be seen.",
        [({}, _truth(status["ok"]))],
    )
    yield "draining", "gauge", "1 while traffic is to leave this node.", [({}, _truth(status["draining"]))]
    yield (
        "sibling_alive",
        "gauge",
        "1 for a router of this cluster that is heard.",
        [({"node": name}, _truth(sibling["state"] == "alive")) for name, sibling in sorted(status["siblings"].items())],
    )
    yield (
        "link_good",
        "gauge",
        "1 when packets for the peer get through by this node.",
        [({"peer": peer}, _truth(view["good"])) for peer, view in sorted(peers.items())],
    )
    yield (
        "link_out",
        "gauge",
        "1 when the egress policy names this node.",
        [({"peer": peer}, _truth(view["out"] == me)) for peer, view in sorted(peers.items())],
    )
    yield (
        "router_good",
        "gauge",
        "1 for a peer's router in order.",
        [(at, _truth(router["good"])) for at, router in routers],
    )
    yield (
        "router_used",
        "gauge",
        "1 for the peer's router that gets this node's packets.",
        [
            (at, _truth(at["router"] in peers[at["peer"]]["over"].values() and bool(peers[at["peer"]]["over"])))
            for at, _ in routers
        ],
    )
    yield (
        "round_trip_seconds",
        "gauge",
        "Of the last probe that a peer's router has answered.",
        [(at, router["rtt_ms"] / 1000) for at, router in routers if router["rtt_ms"] is not None],
    )
    yield "loss_ratio", "gauge", "Of the last 40 probes.", [(at, router["loss"]) for at, router in routers]
    yield (
        "relayed",
        "gauge",
        "1 when NetBird reaches the router by a relay.",
        [(at, _truth(router["relayed"])) for at, router in routers if router["relayed"] is not None],
    )
    yield (
        "moves_total",
        "counter",
        "Moves that this keeper has made.",
        [
            ({"peer": peer, "way": way}, count)
            for peer, ways in sorted(status["moves"].items())
            for way, count in ways.items()
        ],
    )
    yield (
        "mended_total",
        "counter",
        "What was put right on this node.",
        [({"what": what}, count) for what, count in sorted(status["mended"].items())],
    )


def _truth(value: object) -> float:
    return 1.0 if value is True else 0.0


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
