"""Stack files and settings that the documentation shows are run through the plan, and the models' examples as well."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.fleet import check_files
from domain.settings_reference import REFERENCE_FILE
from tests.domain.samples import DE, GIVEN, MN, changed, problems_of, said, text
from tests.domain.test_schema import all_fields

TOP = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (TOP / "README.md", *(TOP / "docs").rglob("*.md"), *(TOP / "examples").rglob("*.md"))
    if path.is_file() and path != TOP / REFERENCE_FILE
)
START = re.compile(r"(isthmus:[a-z0-9_]+|hcloud:[a-zA-Z]+|config):")


def blocks(page: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every block of a page that is a stack file or a part of one, with its place."""
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        if not START.match(lines[at].lstrip()) or lines[at].lstrip().endswith("`"):
            at += 1
            continue
        indent = len(lines[at]) - len(lines[at].lstrip())
        end = at
        while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) >= indent):
            if lines[end].lstrip().startswith("```"):
                break
            if indent == 0 and lines[end] and not lines[end][0].isspace() and not START.match(lines[end]):
                break
            end += 1
        document = yaml.safe_load(textwrap.dedent("\n".join(lines[at:end])))
        assert isinstance(document, dict), (page, at)
        yield f"{page.name}:{at + 1}", document.get("config", document)
        at = max(end, at + 1)


BLOCKS = [block for page in PAGES for block in blocks(page)]


def test_there_are_examples() -> None:
    assert TOP / "README.md" in PAGES
    assert any(place.startswith("how-to.md:") for place, _ in BLOCKS)


@pytest.mark.parametrize("config", [config for _, config in BLOCKS], ids=[place for place, _ in BLOCKS])
def test_what_the_pages_show_passes_the_plan(config: dict[str, Any]) -> None:
    name, base = ("mn", MN) if "isthmus:on_premise" in config else ("de", DE)
    files = {"de": text(DE), "mn": text(MN), name: text({**base, **config})}
    assert said(check_files(files)) == []


NO_EXAMPLE_TO_TAKE = {"on_premise.machines", "on_premise.machines.N.host_key", "k3s.sha256"}
"""Their examples are shortened with dots, or say in words what stands there."""


def examples() -> Iterator[Any]:
    """Every example of the models with its setting."""
    for setting, (model, name) in all_fields().items():
        for example in model.model_fields[name].examples or ():
            if setting not in NO_EXAMPLE_TO_TAKE:
                yield pytest.param(setting, example, id=setting)


@pytest.mark.parametrize(("setting", "example"), list(examples()))
def test_examples_of_the_models_are_right(setting: str, example: Any) -> None:
    """Messages say "write it like ...", so what they name must be possible."""
    base = GIVEN if setting.startswith("on_premise.kubeconfig") else MN if setting.startswith("on_premise") else DE
    path = setting.replace(".N.", ".0.")
    value = yaml.safe_load(example) if isinstance(example, str) and example[0] in "[{" else example
    problems = problems_of(**{"de" if base is DE else "mn": changed(base, {path: value})})
    assert [str(problem) for problem in problems if problem.setting.startswith(path)] == []
