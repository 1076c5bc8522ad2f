"""Each module has its tests where one looks for them: those of ``components/egress_gateway.py`` are in
tests/components/test_egress_gateway.py. A file of another name holds a theme of several modules.

``domain`` and ``lab`` are not held to it: their tests go by what a person meets, as settings and stand-ins are.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.parsing import parsed

TOP = Path(__file__).parents[1]
MIRRORED = ("components", "keeper", "cli", "toolchain")

HELD_BY = {
    "cli/benchmark_commands.py": "cli/test_benchmark.py",
    "cli/options.py": "cli/test_app.py",
    "cli/checks.py": "cli/test_testing.py",
    "cli/console.py": "cli/test_lab.py",
    "cli/directory.py": "cli/test_plan.py",
    "cli/errors.py": "cli/test_app.py",
    "cli/failover.py": "cli/test_benchmark.py",
    "cli/first_up.py": "cli/test_benchmark.py",
    "cli/names.py": "lab/test_names.py",
    "cli/results.py": "cli/test_testing.py",
    "cli/running.py": "cli/test_plan.py",
    "cli/schema.py": "cli/test_plan.py",
    "keeper/conversation.py": "keeper/test_simulation.py",
    "keeper/doing.py": "keeper/test_process.py",
    "keeper/hearing.py": "keeper/test_simulation.py",
    "keeper/http_face.py": "keeper/test_process.py",
    "keeper/netlink.py": "keeper/test_own_node.py",
    "keeper/over.py": "keeper/test_decision.py",
    "keeper/report.py": "keeper/test_metrics.py",
    "keeper/service.py": "keeper/test_process.py",
    "keeper/wire.py": "keeper/test_process.py",
    "toolchain/errors.py": "toolchain/test_making.py",
    "toolchain/processes.py": "toolchain/test_golang.py",
}
"""Modules without a file of their own: the one that tries them, with what they are a part of. None of components."""


def modules(package: str) -> list[str]:
    """Its modules from the top of the repository, without those that only put others together."""
    found = sorted(path.relative_to(TOP).as_posix() for path in (TOP / package).rglob("*.py"))
    assert len(found) > 10
    return [path for path in found if not path.endswith(("__init__.py", "__main__.py"))]


def own_tests(module: str) -> Path:
    path = TOP / "tests" / module
    return path.with_name(f"test_{path.name}")


def count_of_tests(path: Path) -> int:
    """How many tests a file has: a case of several counts once."""
    tree = parsed(path.read_text(encoding="utf-8"))
    found = [function for function in ast.walk(tree) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)]
    return sum(function.name.startswith("test_") for function in found)


@pytest.mark.parametrize("package", MIRRORED)
def test_each_module_has_its_tests(package: str) -> None:
    missing = [
        module
        for module in modules(package)
        if module not in HELD_BY and not (own_tests(module).is_file() and count_of_tests(own_tests(module)))
    ]
    assert missing == []


def test_what_is_held_by_another_file_is_there_and_has_none_of_its_own() -> None:
    everything = {module for package in MIRRORED for module in modules(package)}
    assert set(HELD_BY) <= everything
    assert [module for module in HELD_BY if own_tests(module).exists()] == []
    assert [file for file in HELD_BY.values() if not count_of_tests(TOP / "tests" / file)] == []
    assert [module for module in HELD_BY if module.startswith("components/")] == []
