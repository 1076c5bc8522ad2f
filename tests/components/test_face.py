"""What the package shows to programs of others: exactly its components, each of the same make."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import textwrap
from importlib import import_module

import pulumi
import pytest

import components
from tests.components.recording import ROOT
from tests.parsing import parsed

MODULES = sorted(path.stem for path in (ROOT / "components").glob("*.py") if path.stem != "__init__")


def all_components() -> dict[str, type[pulumi.ComponentResource]]:
    """Every component that some module of the package defines, by name."""
    found = {}
    for name in MODULES:
        module = import_module(f"components.{name}")
        for member in vars(module).values():
            ours = inspect.isclass(member) and member.__module__ == module.__name__
            if ours and issubclass(member, pulumi.ComponentResource):
                found[member.__name__] = member
    assert len(found) >= 10
    return found


def test_every_component_and_its_arguments_are_in_the_face() -> None:
    wanted = {name for found in all_components() for name in (found, f"{found}Args")}
    assert wanted <= set(components.__all__)


def test_every_name_of_the_face_is_there_and_documented() -> None:
    assert components.__all__ == sorted(components.__all__)
    for name in components.__all__:
        assert getattr(components, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'Nobody'"):
        _ = components.Nobody


def test_what_the_checker_of_types_sees_is_what_is_loaded() -> None:
    """The face says each name twice: for type checkers, and for the interpreter."""
    tree = parsed((ROOT / "components" / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("components.")
        for alias in node.names
    }
    loaded = {(f"components.{module}", name) for module, names in components._HOMES.items() for name in names}
    assert seen == loaded
    assert sorted(name for _, name in seen) == components.__all__


def test_the_package_alone_loads_none_of_its_modules() -> None:
    """The process of the dynamic resources, which starts in each preview, imports it for one of them."""
    code = "import sys, components; print([name for name in sys.modules if name.startswith('components.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", sorted(all_components()))
def test_a_component_takes_a_name_typed_arguments_and_options(name: str) -> None:
    component = all_components()[name]
    parameters = list(inspect.signature(component).parameters.values())
    assert [parameter.name for parameter in parameters] == ["name", "args", "opts"]
    assert parameters[1].annotation == f"{name}Args"
    arguments = getattr(components, f"{name}Args")
    assert dataclasses.is_dataclass(arguments)
    assert all(field.type for field in dataclasses.fields(arguments))


@pytest.mark.parametrize("name", sorted(all_components()))
def test_a_component_registers_its_outputs_last(name: str) -> None:
    (function,) = parsed(textwrap.dedent(inspect.getsource(all_components()[name].__init__))).body
    assert isinstance(function, ast.FunctionDef)
    assert ast.unparse(function.body[-1]).startswith("self.register_outputs(")


READERS = ("configuration", "secrets", "stack_outputs", "sdk_debug")


def test_components_read_no_configuration() -> None:
    """Neither the program's settings nor the names of its stack and project. Those that do are read by the program."""
    asks = ("pulumi.Config", "get_stack(", "get_project(", "os.environ")
    found = {
        path.stem
        for path in (ROOT / "components").glob("*.py")
        if any(call in path.read_text(encoding="utf-8") for call in asks)
    }
    # SSH_AUTH_SOCK and the switches of `destroy` and of the look at machines are of the commands, and not settings.
    assert found - set(READERS) == {"machine_preflight", "machine_shell", "netbird_provider", "ssh_reachable"}


def test_components_render_nothing() -> None:
    """What Kubernetes objects look like is data and comes from the domain."""
    modules = list((ROOT / "components").glob("*.py"))
    assert len(modules) > 40
    assert [path.name for path in modules if '"apiVersion":' in path.read_text(encoding="utf-8")] == []
