"""`./isthmus test coverage`: what is measured, how it is summed up by package, and when it is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli import branch_coverage
from cli.branch_coverage import Reached, by_package, environment, floors, judged, measured, print_table

DOMAIN = Reached(package="domain", statements=90, statements_run=90, branches=10, branches_run=5)
LAB = Reached(package="lab", statements=200, statements_run=100, branches=0, branches_run=0)


def _file(statements: int, run: int, branches: int, taken: int) -> dict[str, object]:
    summary = {"num_statements": statements, "covered_lines": run, "num_branches": branches, "covered_branches": taken}
    return {"summary": {**summary, "percent_covered": 1.0}}


def test_files_are_summed_up_by_package() -> None:
    files = {
        "lab/up/site.py": _file(150, 100, 0, 0),
        "domain/plan.py": _file(80, 80, 6, 5),
        "domain/values/text.py": _file(10, 10, 4, 0),
        "lab/state.py": _file(50, 0, 0, 0),
    }
    assert by_package(files) == [DOMAIN, LAB]
    assert (DOMAIN.percent, LAB.percent) == (95.0, 50.0)


def test_a_figure_that_falls_below_its_floor_is_a_failure() -> None:
    assert judged([DOMAIN, LAB], {"domain": 95.0, "lab": 50.0}) == []
    assert judged([DOMAIN, LAB], {"domain": 95.1, "lab": 49.0}) == [
        "the unit tests run 95.0 % of domain, less than its 95.1 % in pyproject.toml"
    ]


def test_a_package_that_nobody_measured_or_holds_is_a_failure() -> None:
    assert judged([DOMAIN], {"domain": 1.0, "lab": 0.0}) == ["nothing of lab was measured"]
    assert judged([DOMAIN, LAB], {"domain": 1.0}) == ["pyproject.toml holds no floor for lab"]


def test_the_table_shows_a_floor_that_may_be_raised(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([DOMAIN, LAB], {"domain": 94.5, "lab": 48.5})
    assert capsys.readouterr().out.splitlines()[1:] == [
        "run by the unit tests, in percent",
        "  package       statements    branches    together    held",
        "  domain             100.0        50.0        95.0    94.5",
        "  lab                 50.0         0.0        50.0    48.5  may be raised",
    ]


def test_each_package_is_measured_and_held() -> None:
    tools = tomllib.loads(branch_coverage.SETTINGS.read_text(encoding="utf-8"))["tool"]
    assert tools["coverage"]["run"]["branch"] is True
    packages = set(tools["importlinter"]["root_packages"])
    assert len(packages) > 4
    assert set(tools["coverage"]["run"]["source_pkgs"]) == set(floors()) == packages
    assert all(0 < floor < 100 for floor in floors().values())


def test_a_process_that_a_test_starts_is_measured(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    child = "import domain.mtu, os; os._exit(0)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{child}'])"
    surroundings = {**os.environ, "PYTHONPATH": str(branch_coverage.REPOSITORY), **environment(data)}
    subprocess.run([sys.executable, "-c", program], cwd=elsewhere, env=surroundings, check=True)
    (domain,) = measured(data)
    assert domain.package == "domain"
    assert 0 < domain.statements_run < domain.statements, "what no process imported counts as well"
    assert domain.branches > 500


def test_nothing_measured_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="coverage combine ended with code 1: No data to combine"):
        measured(tmp_path)
