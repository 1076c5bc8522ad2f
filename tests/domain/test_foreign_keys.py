"""Which keys of others stand in the way of ours, and what is said of them."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from domain.corefile import LinkedZone, custom_zones
from domain.foreign_keys import Block, blocks, taken_names, zones_twice
from domain.settings.installed import DnsSettings

MN = LinkedZone("mn", "astring-mn.internal")
OURS = custom_zones("astring-de.internal", [MN], IPv4Address("10.43.0.53"), DnsSettings())
OWN, PEER = "astring-de.internal.server", "astring-mn.internal.server"
LAB = "lab.example:53 {\n    errors\n    forward . 192.168.9.53\n}\n"


def live(data: dict[str, str], **writers: list[str]) -> dict[str, Any]:
    """The ConfigMap, with who applied which keys."""
    managed = [
        {
            "manager": name.replace("_", "-"),
            "operation": "Update",
            "fieldsV1": {"f:data": {f"f:{key}": {} for key in keys}},
        }
        for name, keys in writers.items()
    ]
    return {"metadata": {"name": "coredns-custom", "managedFields": managed}, "data": data}


@pytest.mark.parametrize(
    ("corefile", "found"),
    [
        ("", []),
        ("words that are no Corefile", []),
        ("a.example:53 {\n    errors\n}\n", [("a.example:53",)]),
        ("A.Example. {\n    errors\n}\n", [("a.example:53",)]),
        ("a.example, b.example:1053 c {\n    errors\n}\n", [("a.example:53", "b.example:1053", "c:53")]),
        ("a.example,\nb.example {\n    errors\n}\n", [("a.example:53", "b.example:53")]),
        ("dns://a.example {\n    errors\n}\ntls://a.example {\n    tls c k\n}\n", [("a.example:53",), ()]),
        (".:53 {\n    cache 30 {\n        servfail 2s\n    }\n}\nb.example {\n}\n", [(".:53",), ("b.example:53",)]),
        ("(shared) {\n    errors\n}\na.example {\n    import shared\n}\n", [(), ("a.example:53",)]),
        ("import /etc/more/*\n# a.example {\nb.example {   # }\n    errors\n}\n", [("b.example:53",)]),
        ('a.example {\n    template IN A {\n        answer "{{ .Name }} A 192.0.2.1"\n    }\n}\n', [("a.example:53",)]),
    ],
)  # fmt: skip
def test_what_a_corefile_serves(corefile: str, found: list[tuple[str, ...]]) -> None:
    assert [block.serves for block in blocks(corefile)] == found


def test_the_plugins_of_a_block() -> None:
    assert blocks(
        "a.example {\n    cache 30 {\n        servfail 2s\n    }\n    view x {\n        expr true\n    }\n}\n"
    ) == [Block(("a.example:53",), frozenset({"cache", "view"}))]


@pytest.mark.parametrize(
    "there",
    [
        None,
        {"metadata": {}},
        live({}),
        live({"lab.server": LAB, "log.override": "log\n"}, kubectl_create=["lab.server", "log.override"]),
        live({OWN: OURS[OWN]}, kubectl_create=[OWN]),
        live({OWN: "an older text of ours"}, isthmus=[OWN]),
        live({"old.server": OURS[OWN]}, isthmus=["old.server"]),
        live({"note.txt": OURS[OWN]}, kubectl_create=["note.txt"]),
        live({"mine.server": "tls://astring-de.internal {\n}\n"}),
        live({"mine.server": "astring-de.internal:1053 {\n}\nmore.astring-de.internal {\n}\n"}),
        live({"mine.server": "astring-de.internal {\n    view x {\n        expr true\n    }\n}\n"}),
    ],
)
def test_what_is_not_in_the_way(there: dict[str, Any] | None) -> None:
    assert taken_names(there, OURS, []) == []
    assert zones_twice(there, OURS) == []


def taken(key: str, writer: str) -> str:
    """What is said of a key of our name, word for word."""
    patch = f'[{{"op": "remove", "path": "/data/{key}"}}]'
    return (
        f"kube-system/coredns-custom: the key {key} is there already, written by {writer}; this program needs that "
        "name and overwrites nobody's key: take it out with `kubectl -n kube-system patch configmap coredns-custom "
        f"--type=json -p '{patch}'`, then run the same command again"
    )


def test_a_key_of_the_same_name() -> None:
    there = live({OWN: LAB, PEER: LAB}, kubectl_create=[OWN])
    assert taken_names(there, OURS, []) == [taken(OWN, "kubectl-create"), taken(PEER, "somebody else")]


def test_what_the_state_knows_as_ours_is_put_right() -> None:
    """Somebody changed it by hand, and is its owner for that; the one that the state does not know is not ours."""
    there = live({OWN: LAB, PEER: LAB}, kubectl_edit=[OWN, PEER])
    assert [PEER in sentence for sentence in taken_names(there, OURS, [OWN])] == [True]


def test_a_key_that_serves_a_zone_of_ours() -> None:
    text = "lab.example astring-mn.internal. {\n    forward . 192.168.9.53\n}\n"
    (said,) = zones_twice(live({"mine.server": text}, flux=["mine.server"], helm=["mine.server"]), OURS)
    assert said == (
        "kube-system/coredns-custom: the key mine.server, written by flux and helm, serves astring-mn.internal:53, "
        f"which this program serves by the key {PEER}; CoreDNS starts with no zone twice: take astring-mn.internal out "
        "of mine.server, then run the same command again"
    )
