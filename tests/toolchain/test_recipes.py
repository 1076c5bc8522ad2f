"""The recipe table and the keys of what it builds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import RECIPES, Recipe, UnknownToolError, versions
from toolchain.recipes import Binary, build_key, find, official_key

RECIPE = Recipe(
    name="tool",
    version="1.2.3",
    module="go/tool",
    binaries=(Binary(file="tool", package="example.org/tool", tags=("a",)),),
    variables=(("example.org/tool.Version", "1.2.3"),),
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    module = tmp_path / "repository" / RECIPE.module
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module tool\n")
    (module / "go.sum").write_text("sums\n")
    (module / "main.go").write_text("package main\n")
    return tmp_path / "repository"


def change_recipe(**changes: object) -> Recipe:
    return dataclasses.replace(RECIPE, **changes)  # type: ignore[arg-type]  # the names vary from case to case


def test_artifacts_hold_what_the_lab_and_pulumi_expect() -> None:
    assert {name: recipe.files for name, recipe in RECIPES.items()} == {
        "pulumi": ("pulumi", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"),
        "pulumi-language-python": ("pulumi-language-python",),
        "pulumi-resource-kubernetes": ("pulumi-resource-kubernetes",),
        "pulumi-resource-hcloud": ("pulumi-resource-hcloud",),
        "pulumi-resource-command": ("pulumi-resource-command",),
        "netbird-operator": ("netbird-operator",),
        "kubernetes": ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"),
        "etcd": ("etcd",),
        "coredns": ("coredns",),
        "netbird": ("netbird",),
        "netbird-server": ("netbird-server",),
        "cilium": (
            "cilium-agent",
            "cilium-operator-generic",
            "cilium-dbg",
            "cilium-cni",
            "cilium-mount",
            "cilium-sysctlfix",
            "chart",
            "bpf",
            "scripts/init-container.sh",
            "scripts/install-plugin.sh",
            "scripts/cni-uninstall.sh",
        ),
    }


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_programs_built_by_one_call_of_go_keep_apart(recipe: Recipe) -> None:
    together: dict[tuple[str, ...], list[str]] = {}
    for binary in recipe.binaries:
        together.setdefault(binary.tags, []).append(binary.package.rsplit("/", 1)[-1])
    for names in together.values():
        assert max(Counter(names).values()) == 1
        # Go would name the program after the element before a version.
        assert len(names) == 1 or not any(name.startswith("v") and name[1:].isdigit() for name in names)


def test_an_unknown_name_is_answered_with_all_names() -> None:
    with pytest.raises(UnknownToolError) as raised:
        find("kubectl")
    assert str(raised.value) == f"There is no tool 'kubectl'; the tools are {', '.join(RECIPES)}."


def test_equal_input_gives_equal_keys_wherever_it_lies(repository: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    before = build_key(RECIPE, repository=repository)
    repository.rename(moved)
    assert build_key(RECIPE, repository=moved) == before
    assert len(before) == 16


@pytest.mark.parametrize(
    "change",
    [
        lambda module: (module / "go.mod").write_text("module tool\n\ngo 1.26\n"),
        lambda module: (module / "go.sum").write_text("other sums\n"),
        lambda module: (module / "main.go").write_text("package main\n\nfunc main() {}\n"),
        lambda module: (module / "more.go").write_text(""),
        lambda module: (module / "main.go").rename(module / "other.go"),
        lambda module: (module / "schema.json").write_text("{}"),
    ],
    ids=["go.mod", "go.sum", "source", "new file", "new name", "embedded file"],
)
def test_a_changed_module_changes_the_key(repository: Path, change: Callable[[Path], object]) -> None:
    before = build_key(RECIPE, repository=repository)
    change(repository / RECIPE.module)
    assert build_key(RECIPE, repository=repository) != before


@pytest.mark.parametrize("name", ["main_test.go", ".directory/file", ".hidden"])
def test_tests_and_hidden_files_do_not_change_the_key(repository: Path, name: str) -> None:
    before = build_key(RECIPE, repository=repository)
    file = repository / RECIPE.module / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("x")
    assert build_key(RECIPE, repository=repository) == before


@pytest.mark.parametrize(
    "changed",
    [
        change_recipe(variables=(("example.org/tool.Version", "1.2.4"),)),
        change_recipe(cgo=True),
        change_recipe(binaries=(Binary(file="tool", package="example.org/tool"),)),
        change_recipe(binaries=(Binary(file="other", package="example.org/tool", tags=("a",)),)),
    ],
    ids=["variables", "cgo", "tags", "file"],
)
def test_a_changed_recipe_changes_the_key(repository: Path, changed: Recipe) -> None:
    assert build_key(changed, repository=repository) != build_key(RECIPE, repository=repository)


def test_a_new_go_changes_the_key(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_key(RECIPE, repository=repository)
    monkeypatch.setattr(versions, "GO", "1.99.0")
    assert build_key(RECIPE, repository=repository) != before


def test_the_key_of_a_release_says_version_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert official_key(RECIPES["pulumi-resource-hcloud"]) == "official-1.32.2-linux-x86_64"
