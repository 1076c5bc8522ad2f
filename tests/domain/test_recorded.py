"""Stack files and outputs that the first program left are right for this one, too."""

from __future__ import annotations

import pytest

from domain.changes import changes_refused, raised_with
from domain.link import parse_link
from domain.places.outputs import RAISED_WITH
from tests.domain.samples import problems_of, said, settings_of
from tests.recorded import data

KINDS = pytest.mark.parametrize(("kind", "stack"), data.KINDS.items())


@KINDS
def test_its_stack_file_has_no_problem(kind: str, stack: str) -> None:
    other = {"de": "mn", "mn": "de"}[stack]
    fleet = {stack: data.stack_config(kind), other: data.stack_config(other)}
    assert said(problems_of(**fleet)) == []


@KINDS
def test_its_stack_is_raised_again_without_a_refusal(kind: str, stack: str) -> None:
    settings = settings_of(stack, data.stack_config(kind))
    assert changes_refused(data.outputs(kind), settings) == []
    before = data.outputs(kind)[RAISED_WITH]
    assert {name: raised_with(settings)[name] for name in before} == before


@KINDS
def test_its_link_is_read(kind: str, stack: str) -> None:
    link = data.outputs(kind)["link"]
    assert parse_link(link, stack).output() == link
