"""The table of what can be away is whole: each cell is run, here or elsewhere, or says why it is not; a gap is named in
the evidence.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.engine.away import AWAY, COMMANDS, GOES, MOMENTS, TABLE, Cell, Elsewhere, Gap, Reason, Run, With
from tests.engine.test_away import cells

TESTS = Path(__file__).parents[1]
EVIDENCE = " ".join((TESTS.parent / "docs" / "evidence.md").read_text(encoding="utf-8").split())


def test_every_cell_is_there() -> None:
    assert set(TABLE) == set(product(AWAY, MOMENTS, COMMANDS))


@pytest.mark.parametrize("cell", TABLE, ids=" ".join)
def test_a_cell_is_run_or_reasoned(cell: Cell) -> None:
    what, moment, command = cell
    match TABLE[cell]:
        case Run() as run:
            assert cell in cells(command)
            assert {what, *run.also} <= set(GOES)
            # Away from the start, or with a moment that it waits for.
            assert (moment == "start") is (run.when is None and run.goes_at is None)
        case With(other):
            together = TABLE[(other, moment, command)]
            assert isinstance(together, Run)
            assert what in together.also
        case Elsewhere(file, name):
            assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8")
        case Reason(text):
            assert len(text.split()) > 4
        case Gap():
            assert f"{what} at the {moment} of `{command}`" in EVIDENCE


def test_the_evidence_has_every_cell_that_is_run() -> None:
    found = {
        (what, moment, command)
        for (what, moment, command), run in TABLE.items()
        if isinstance(run, Run) and f"| {what} | {moment} | `{command}` |" not in EVIDENCE
    }
    assert found == set()
