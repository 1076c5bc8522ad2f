"""The moving line of a terminal: what is going on must be legible on a narrow one."""

from __future__ import annotations

import pytest

from cli.reporters import moving_line

TITLE = "12 tools, built from source where they are missing"
DETAIL = "cilium (12 of 12): compile 812 of 1100 packages (241 s)"


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (200, f"{TITLE}  4 min 06 s  {DETAIL}"),
        (100, f"12 tools, built from source wh…  4 min 06 s  {DETAIL}"),
        (80, "12 tools, built fro…  4 min 06 s  cilium (12 of 12): compile 812 of 1100 packag…"),
    ],
)
def test_on_a_narrow_terminal_the_title_gives_way_to_the_news(width: int, line: str) -> None:
    made = moving_line(TITLE, "4 min 06 s", DETAIL, width=width).plain
    assert made == line
    assert len(made) <= width


def test_a_step_without_news_shows_its_title_and_time() -> None:
    assert moving_line("Networks", "0.3 s", "", width=80).plain == "Networks  0.3 s"
