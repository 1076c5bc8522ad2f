"""The directories from which Pulumi runs, put together from fake tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from toolchain import RECIPES, pulumi_bin, pulumi_environment, pulumi_home

HOME_FILES = [
    "plugins/resource-command-v1.2.1/pulumi-resource-command",
    "plugins/resource-hcloud-v1.32.2/pulumi-resource-hcloud",
    "plugins/resource-kubernetes-v4.25.0/pulumi-resource-kubernetes",
]
BIN_FILES = ["pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"]


class Tools:
    """Stands for ``ensure``: answers with a directory for each tool, or with the one it was told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places: dict[str, Path] = {}

    def ensure(self, names: Sequence[str], **_: object) -> dict[str, Path]:
        made = {}
        for name in names:
            directory = self.places.get(name, self.root / name / "key")
            directory.mkdir(parents=True, exist_ok=True)
            for file in RECIPES[name].files:
                (directory / file).touch()
            made[name] = directory
        return made


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    tools = Tools(tmp_path / "tools")
    monkeypatch.setattr("toolchain.pulumi.ensure", tools.ensure)
    return tools


def content(directory: Path) -> list[str]:
    files = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return sorted(file for file in files if file != "artifact.json")


def test_bin_holds_the_cli_and_what_it_looks_for_beside_itself(tools: Tools, cache_root: Path) -> None:
    directory = pulumi_bin()
    assert directory.parent == cache_root / "pulumi-bin"
    assert content(directory) == BIN_FILES
    assert not [name for name in BIN_FILES if (directory / name).is_symlink()]
    assert {(directory / name).stat().st_mode & 0o777 for name in BIN_FILES} == {0o755}
    assert pulumi_bin() == directory


def test_bin_of_one_release_is_the_release(tools: Tools, tmp_path: Path, cache_root: Path) -> None:
    tools.places = dict.fromkeys(("pulumi", "pulumi-language-python"), tmp_path / "release")
    assert pulumi_bin() == tmp_path / "release"
    assert not cache_root.exists()


def test_home_holds_each_plugin_under_its_exact_version(tools: Tools, cache_root: Path) -> None:
    home = pulumi_home()
    assert home.parent == cache_root / "pulumi-home"
    assert content(home) == HOME_FILES
    assert pulumi_home() == home
    (home / HOME_FILES[0]).unlink()
    assert content(pulumi_home()) == HOME_FILES


def test_a_rebuilt_plugin_makes_another_home(tools: Tools, tmp_path: Path) -> None:
    before = pulumi_home()
    tools.places = {"pulumi-resource-hcloud": tmp_path / "rebuilt"}
    assert pulumi_home() != before


def test_home_with_some_plugins(tools: Tools) -> None:
    assert content(pulumi_home(plugins=["hcloud"])) == [HOME_FILES[1]]


def test_home_in_a_directory_of_the_callers(tools: Tools, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "credentials.json").touch()
    for _ in range(2):
        assert pulumi_home(directory=home) == home
    assert content(home) == ["credentials.json", *HOME_FILES]
    tools.places = {"pulumi-resource-hcloud": tmp_path / "rebuilt"}
    pulumi_home(directory=home)
    assert (home / HOME_FILES[1]).read_bytes() == (tmp_path / "rebuilt/pulumi-resource-hcloud").read_bytes()


def test_a_home_where_all_is_installed_is_used_with_its_login(tools: Tools, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for file in HOME_FILES:
        tools.places[Path(file).name] = (home / file).parent
    assert pulumi_home() == home


def test_environment_puts_ours_first(tools: Tools) -> None:
    assert pulumi_environment(environment={"PATH": "/usr/bin", "HOME": "/root"}) == {
        "PATH": f"{pulumi_bin()}:/usr/bin",
        "PULUMI_HOME": str(pulumi_home()),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
