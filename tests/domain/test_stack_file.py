"""Whatever a stack file holds, reading it ends in settings or in problems with a line, soon, and quotes nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.fleet import check_files
from domain.stack_file import DEPTH_LIMIT, SIZE_LIMIT, parse_stack_file
from tests.domain.samples import DE, MN, changed, text

BOMB = "\n".join(
    [
        "config:",
        "  a: &a [x, x]",
        *(f"  {chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]" for n in range(20)),
    ]
)

UNREADABLE = [
    (
        "not YAML",
        "config: {isthmus:peers: [de\n",
        "a [ or { that is opened here is not closed, or a comma is missing; close it",
        1,
    ),
    ("a tab", "config:\n\tisthmus:peers: []\n", "a tab stands where only spaces may; indent with spaces", 2),
    ("a control character", "config:\n  a: \x01hunter2\n", "character that a text file doesn't have; remove it", None),
    ("half a character", "config: \udc80\n", "", None),
    ("aliases", BOMB, "has an anchor or an alias (& or *); write the value out, or quote the text", 2),
    ("a tag", "config:\n  a: !!python/object/apply:os.system [id]\n", "has a tag (!); remove it, or quote the text", 2),
    ("deep nesting", "config: " + "[" * 5000, f"has more than {DEPTH_LIMIT} levels; write it with fewer", 1),
    ("many bytes", "#" * (SIZE_LIMIT + 1), f"has {SIZE_LIMIT + 1} bytes; a stack file has at most {SIZE_LIMIT}", None),
    ("two documents", "config: {}\n---\nconfig: {}\n", "holds more than one document; keep one", 2),
    ("a list", "- config\n", "is not an object with the key config; see the example stack files", 1),
    ("a text", "hunter2\n", "is not an object with the key config; see the example stack files", 1),
    ("a config of text", "config: hunter2\n", "has a config that is not an object; see the example stack files", 1),
    ("a key that is a list", "config:\n  [a, b]: c\n", "has a key that is not a text; see the example stack files", 2),
]


@pytest.mark.parametrize(("content", "says", "line"), [case[1:] for case in UNREADABLE], ids=[c[0] for c in UNREADABLE])
def test_unreadable(content: str, says: str, line: int | None) -> None:
    started = time.process_time()
    problems = check_files({"de": text(DE), "mn": content})
    assert time.process_time() - started < 2
    (problem,) = [candidate for candidate in problems if candidate.stack == "mn"]
    assert problem.setting == "Pulumi.mn.yaml"
    assert says in str(problem)
    assert line is None or problem.line == line
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    "content", ["", "# nothing\n", "config:\n", "config: {}\n", "encryptionsalt: v1:abc\n", "---\n"]
)
def test_empty_file_lacks_everything(content: str) -> None:
    found = [problem.setting for problem in check_files({"mn": content})]
    assert found == ["network", "hetzner", "k3s", "netbirdApiToken"]


def test_config() -> None:
    file = parse_stack_file(
        "mn",
        """encryptionsalt: v1:abc
config:
  # a comment
  isthmus:peers: [no, "yes"]
  isthmus:cilium:
    mtu: 1280
    values: {a: 0.5, b: ~, c: true, d: 0x10, e: 1_000, f: 2026-01-01, g: 'true', <<: x}
  isthmus:clusterSecret:
    secure: v1:abc
  hcloud:endpoint: http://x
""",
    )
    assert [problem.setting for problem in file.problems] == [f"cilium.values.{name}" for name in "def"]
    assert file.config == {
        "isthmus:peers": ["no", "yes"],
        "isthmus:cilium": {
            "mtu": 1280,
            "values": {
                "a": 0.5, "b": None, "c": True, "d": "0x10", "e": "1_000", "f": "2026-01-01", "g": "true", "<<": "x"
            },
        },
        "isthmus:clusterSecret": {"secure": "v1:abc"},
        "hcloud:endpoint": "http://x",
    }  # fmt: skip
    assert file.line_of("cilium.mtu") == 6
    assert file.line_of("cilium.values.bpf.masquerade") == 7
    assert file.line_of("peers.1") == 4
    assert file.line_of("hcloud:endpoint") == 10
    assert file.line_of("clusterSecret") == 8
    assert file.line_of("network.pod_cidr") == 2


def test_key_twice() -> None:
    content = text(DE) + "  isthmus:peers: [mn]\n"
    (problem,) = check_files({"de": content, "mn": text(MN)})
    assert str(problem).startswith("de: peers stands there twice; remove one. [Pulumi.de.yaml:")


def test_key_without_namespace() -> None:
    problems = check_files({"de": text({**DE, "peers": ["mn"]}), "mn": text(MN)})
    assert [str(problem).partition(" [")[0] for problem in problems] == [
        "de: peers has no namespace; settings of this program start with isthmus:; write isthmus:peers."
    ]


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_any_text(content: str) -> None:
    assert check_files({"mn": content})
    assert check_files({"mn": f"config:\n  isthmus:network:\n    pod_cidr: {content}\n"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def paths(config: Any, prefix: str = "") -> list[str]:
    """The path of every setting of a sample."""
    found: list[str] = []
    items = config.items() if isinstance(config, dict) else enumerate(config)
    for name, value in items:
        path = f"{prefix}{str(name).removeprefix('isthmus:')}"
        found.append(path)
        if isinstance(value, dict | list):
            found += paths(value, f"{path}.")
    return found


@settings(max_examples=150)
@given(st.sampled_from([(DE, path) for path in paths(DE)] + [(MN, path) for path in paths(MN)]), JSON)
def test_any_value_anywhere(place: tuple[dict[str, Any], str], value: Any) -> None:
    base, path = place
    other = {"mn": text(MN)} if base is DE else {"de": text(DE)}
    name = "de" if base is DE else "mn"
    for problem in check_files({name: text(changed(base, {path: value})), **other}):
        assert str(problem).isprintable()
        assert len(str(problem)) < 1000


def test_a_key_that_may_be_a_password_is_not_shown_with_a_number_that_pulumi_reads_otherwise() -> None:
    file = parse_stack_file("mn", "config:\n  isthmus:peers:\n  - me:hunter2@example.net: .inf\n")
    assert [str(problem) for problem in file.problems] == [
        (
            "mn: (hidden) .inf is a number to Pulumi, and one that it can't write down; write it in quotes. "
            "[Pulumi.mn.yaml:3]"
        )
    ]
