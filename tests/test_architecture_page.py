"""docs/architecture.md: its picture is that of the imports, and the files that it names are there."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

from tests.parsing import parsed

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:domain|components|cli|lab|keeper|preflight|tests|docs)/[\w./*-]+|pyproject\.toml)`")
PACKAGES = ("components", "domain", "cli", "lab", "toolchain", "keeper", "preflight")
ARROW = re.compile(r"^ *(\w+)(?:\[[^]]*\])? (-->|-\.->) (\w+)", re.MULTILINE)
MAY_TOUCH = 4
WANTED = ("cloud", "check", "setting", "Corefile", "keeps watch inside the cluster")
"""The changes for which a stranger has to find the room."""


def test_every_file_that_the_page_names_is_there() -> None:
    named = {path for path in PATH.findall(PAGE) if "NAME" not in path}
    assert len(named) > 20
    assert [path for path in sorted(named) if not list(REPOSITORY.glob(path))] == []


# --- the picture ------------------------------------------------------------------------------------------------------


def imported(source: str) -> Iterator[str]:
    """The packages of ours that a module imports, wherever in it."""
    for node in ast.walk(parsed(source)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [str(node.module)]
        yield from (root for root in (module.partition(".")[0] for module in modules) if root in PACKAGES)


def arrows(page: str, kind: str) -> set[tuple[str, str]]:
    picture = page.partition("```mermaid")[2].partition("```")[0]
    return {(package, other) for package, drawn, other in ARROW.findall(picture) if drawn == kind}


def test_the_picture_has_the_arrows_that_the_code_has() -> None:
    files = {
        "main": [REPOSITORY / "__main__.py"],
        **{package: list((REPOSITORY / package).rglob("*.py")) for package in PACKAGES},
    }
    assert all(files.values())
    found = {
        (package, other)
        for package, modules in files.items()
        for module in modules
        for other in imported(module.read_text(encoding="utf-8"))
        if other != package
    }
    assert len(found) > 5
    assert arrows(PAGE, "-->") == found
    assert arrows(PAGE, "-.->") == {("components", "keeper")}


def refused(contracts: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """What the contracts say that one whole package may not import of the others."""
    found = set[tuple[str, str]]()
    for contract in contracts:
        if contract["type"] == "forbidden" and not contract.get("ignore_imports"):
            found |= {
                (package, other) for package in contract["source_modules"] for other in contract["forbidden_modules"]
            }
        if contract["type"] == "layers" and "containers" not in contract:
            found |= {(package, other) for other, package in combinations(contract["layers"], 2)}
    return {(package, other) for package, other in found if package in PACKAGES and other in PACKAGES}


def test_a_contract_refuses_each_import_that_the_picture_does_not_have() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    drawn = {(package, other) for package, other in arrows(PAGE, "-->") if package in PACKAGES}
    assert refused(settings["tool"]["importlinter"]["contracts"]) == set(permutations(PACKAGES, 2)) - drawn


def test_an_import_is_seen_wherever_it_stands() -> None:
    source = "import lab.names\ndef f():\n    from domain import corefile\nfrom .cli import x\nimport yaml\n"
    assert sorted(imported(source)) == ["domain", "lab"]
    assert arrows('```mermaid\n  a["b --> c"] --> d\n  d -.-> e\n```\n x --> y', "-->") == {("a", "d")}


# --- where a change goes ----------------------------------------------------------------------------------------------


def rows(page: str) -> dict[str, list[list[str]]]:
    """What is to be added -> the paths that are new, those that are touched, those of the tests."""
    lines = page.partition("### Where a change goes")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {what: [PATH.findall(cell) for cell in others] for what, *others in cells[1:]}


def test_each_change_has_its_room() -> None:
    table = rows(PAGE)
    assert all(any(word in what for what in table) for word in WANTED)
    for what, (new, touched, tests) in table.items():
        assert 1 <= len(touched) <= MAY_TOUCH, what
        assert len(new) <= MAY_TOUCH - 1, what
        assert all("NAME" in path for path in new), what
        assert not [path for path in touched if "NAME" in path], what
        assert tests, what
        assert all(path.startswith("tests/") for path in tests), what
