"""The version table, the Go modules, the recipes and the Python requirements say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolchain import RECIPES, versions
from toolchain.recipes import REPOSITORY

GO_MODULES = sorted(path.parent.name for path in (REPOSITORY / "toolchain/go").glob("*/go.mod"))
CILIUM = "github.com/cilium/cilium"
NETBIRD = "github.com/netbirdio/netbird"


def go_mod(tool: str) -> str:
    return (RECIPES[tool].directory() / "go.mod").read_text(encoding="utf-8")


def required(tool: str) -> dict[str, str]:
    """Module path to version, of all requirements of the tool's go.mod."""
    lines = re.findall(r"^(?:require )?\t?([\w.~-]+\.[\w./~-]+) (v\S+)(?: // indirect)?$", go_mod(tool), re.MULTILINE)
    return dict(lines)


def test_every_go_module_of_the_toolchain_has_a_recipe() -> None:
    assert sorted(name for name, recipe in RECIPES.items() if recipe.module.startswith("toolchain/go/")) == GO_MODULES
    assert all(RECIPES[name].module == f"toolchain/go/{name}" for name in GO_MODULES)


@pytest.mark.parametrize(
    ("tool", "module", "version"),
    [
        ("pulumi", "github.com/pulumi/pulumi/pkg/v3", versions.PULUMI),
        ("pulumi", "github.com/pulumi/pulumi/sdk/v3", versions.PULUMI),
        (
            "pulumi-resource-kubernetes",
            "github.com/pulumi/pulumi-kubernetes/sdk/v4",
            versions.PULUMI_PLUGINS["kubernetes"],
        ),
        ("pulumi-resource-hcloud", "github.com/hetznercloud/terraform-provider-hcloud", versions.HCLOUD_UPSTREAM),
        ("kubernetes", "k8s.io/kubernetes", versions.KUBERNETES),
        ("etcd", "go.etcd.io/etcd/server/v3", versions.ETCD),
        ("coredns", "github.com/coredns/coredns", versions.COREDNS),
        ("netbird", NETBIRD, versions.NETBIRD),
        ("netbird-server", NETBIRD, versions.NETBIRD),
        ("cilium", CILIUM, versions.CILIUM),
    ],
)
def test_go_modules_require_the_versions_of_the_table(tool: str, module: str, version: str) -> None:
    assert required(tool)[module] == f"v{version}"


def test_kubernetes_takes_its_staging_modules_from_the_same_release() -> None:
    staging = re.findall(r"^\t(k8s\.io/\S+) => (\S+) v0\.(\S+)$", go_mod("kubernetes"), re.MULTILINE)
    assert len(staging) == 31
    assert {(name == target, f"1.{release}") for name, target, release in staging} == {(True, versions.KUBERNETES)}


def test_both_netbird_modules_replace_the_same() -> None:
    replaced = [re.findall(r"^\t(\S+ => .+)$", go_mod(tool), re.MULTILINE) for tool in ("netbird", "netbird-server")]
    assert replaced[0] == replaced[1] != []


@pytest.mark.parametrize("tool", RECIPES)
def test_go_modules_are_pinned_and_free_of_this_machine(tool: str) -> None:
    text = go_mod(tool)
    go = re.search(r"^go (\d+)\.(\d+)", text, re.MULTILINE)
    assert go is not None
    assert tuple(int(part) for part in go.groups()) <= versions.GO_MINIMUM
    assert not re.search(r"^toolchain ", text, re.MULTILINE), "GOTOOLCHAIN=local would refuse another toolchain"
    assert not re.search(r"=> [./]", text), "a replacement by a folder does not survive the copy that is built"
    assert (RECIPES[tool].directory() / "go.sum").stat().st_size > 0


def test_the_fetched_go_is_new_enough() -> None:
    assert tuple(int(part) for part in versions.GO.split("."))[:2] >= versions.GO_MINIMUM


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("pulumi", versions.PULUMI),
        ("pulumi-command", versions.PULUMI_PLUGINS["command"]),
        ("pulumi-hcloud", versions.PULUMI_PLUGINS["hcloud"]),
        ("pulumi-kubernetes", versions.PULUMI_PLUGINS["kubernetes"]),
    ],
)
def test_python_packages_ask_for_the_plugins_of_the_table(package: str, version: str) -> None:
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.split()[0] for line in lines if line.startswith(f"{package}==")]
    assert pinned == [f"{package}=={version}"]


def test_variables_and_tags_carry_no_version_of_their_own() -> None:
    source = Path(str(RECIPES["cilium"].directory().parent.parent / "recipes.py")).read_text(encoding="utf-8")
    table = Path(versions.__file__).read_text(encoding="utf-8")
    numbers = set(re.findall(r'"v?(\d+\.\d+\.\d+)"', table))
    assert len(numbers) >= 9
    assert not [number for number in numbers if number in source]
