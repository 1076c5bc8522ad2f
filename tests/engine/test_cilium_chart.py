"""The names that count as values of Cilium's chart are those of the chart that is installed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from domain.cilium_chart import KNOWN_RELEASE, chart_names
from toolchain import versions
from toolchain.making import ensure

pytestmark = pytest.mark.engine

GONE = {"AsMap", "enableCnpStatusUpdates", "enableK8sEventHandover", "hostServices", "tunnel"}
"""What the templates look for although it is no value: Helm's own, and what makes the chart fail."""


@pytest.fixture(scope="module")
def chart() -> Path:
    """The chart in its pinned version."""
    return ensure(["cilium"])["cilium"] / "chart"


def templates(chart: Path) -> str:
    return "\n".join(
        file.read_text(encoding="utf-8") for file in sorted(chart.glob("templates/**/*")) if file.is_file()
    )


def test_no_value_of_the_chart_is_refused(chart: Path) -> None:
    assert KNOWN_RELEASE == versions.CILIUM
    listed = chart_names()
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))["properties"]
    assert len(schema) > 150
    used = re.findall(r"\.Values\.([A-Za-z0-9]+)(?:\.([A-Za-z0-9]+))?", templates(chart))
    used += [(top, name) for top, form in schema.items() for name in ("", *form.get("properties", {}))]
    lacking = {top for top, _ in used if top not in listed}
    lacking |= {f"{top}.{name}" for top, name in used if listed.get(top) and name and name not in listed[top]}
    assert lacking - GONE == set()


def test_every_name_is_in_the_chart(chart: Path) -> None:
    words = set(re.findall(r"[A-Za-z0-9]+", templates(chart) + (chart / "values.yaml").read_text(encoding="utf-8")))
    assert {name for top, below in chart_names().items() for name in (top, *below)} - words == set()
