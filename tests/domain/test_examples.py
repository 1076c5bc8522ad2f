"""Stack files and settings that the documentation shows are run through the plan, and the models' examples as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.fleet import check_files
from domain.settings_reference import REFERENCE_FILE
from tests.domain.samples import DE, GIVEN, MN, changed, data_of, problems_of, said, text
from tests.domain.test_schema import all_fields

TOP = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (TOP / "README.md", *(TOP / "docs").rglob("*.md"), *(TOP / "examples").rglob("*.md"))
    if path.is_file() and path != TOP / REFERENCE_FILE
)
FENCE = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SETTING = re.compile(r"^ *(isthmus:[a-z0-9_]+|hcloud:[a-zA-Z]+|config):( |$)", re.MULTILINE)


def blocks(page: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every block of a page that is a stack file or a part of one, with its place."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        document = data_of(found[1])
        assert isinstance(document, dict), (page, found[1])
        yield f"{page.name}:{text[: found.start()].count(chr(10)) + 1}", document


BLOCKS = [block for page in PAGES for block in blocks(page)]


def test_no_example_is_missed() -> None:
    assert TOP / "README.md" in PAGES
    assert len(PAGES) >= 8
    assert len(BLOCKS) == 5
    assert sum("config" in document for _, document in BLOCKS) == 1
    for page in PAGES:
        outside = FENCE.sub("", page.read_text(encoding="utf-8"))
        assert not SETTING.search(outside), f"{page}: a stack file outside of a block of yaml"


@pytest.mark.parametrize("document", [document for _, document in BLOCKS], ids=[place for place, _ in BLOCKS])
def test_what_the_pages_show_passes_the_plan(document: dict[str, Any]) -> None:
    """A whole file as it is, beside the samples of its peers; a part of one put into a sample."""
    config = document.get("config", document)
    name, base = ("mn", MN) if "isthmus:on_premise" in config else ("de", DE)
    shown = config if "config" in document else {**base, **config}
    assert said(check_files({"de": text(DE), "mn": text(MN), name: text(shown)})) == []


NO_EXAMPLE_TO_TAKE = {"on_premise.machines", "on_premise.machines.N.host_key", "k3s.sha256", "k3s.sha256_arm64"}
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
    path = setting.replace(".N.", ".0.").replace(".NAME.", ".db.")
    value = data_of(example) if isinstance(example, str) and example[0] in "[{" else example
    problems = problems_of(**{"de" if base is DE else "mn": changed(base, {path: value})})
    assert [str(problem) for problem in problems if problem.setting.startswith(path)] == []
