"""Images: what goes into layers and documents, without building anything large."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from domain.settings.installed import KeeperSettings
from lab import images
from lab.images import layers
from lab.images.layer_writer import LayerWriter, merged_path
from lab.images.layers import layer_key
from lab.images.making import config_document
from lab.images.model import File, ImageRecipe, LayerRecipe, Tree
from lab.images.recipes import IMAGES, KEEPER_IMAGE, LAYERS, RELAY_IMAGE
from toolchain import RECIPES


def written(recipe: LayerRecipe, path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar}


def test_every_layer_and_tool_that_is_named_exists() -> None:
    for image in IMAGES:
        assert set(image.layers) <= set(LAYERS), image.reference
    for layer in LAYERS.values():
        assert set(layer.tools) <= set(RECIPES), layer.name
        for item in layer.content:
            if item.tool:
                assert item.source in RECIPES[item.tool].files, item
            elif item.source:
                assert (layers.REPOSITORY / item.source).is_file(), item


def test_the_names_are_those_that_charts_and_manifests_use() -> None:
    assert [image.reference for image in IMAGES] == [
        "docker.io/rancher/mirrored-pause:3.6",
        "docker.io/rancher/mirrored-coredns-coredns:1.14.7",
        "docker.io/coredns/coredns:1.14.7",
        "docker.io/netbirdio/netbird:0.77.1",
        "docker.io/library/python:3.13-slim",
        "ghcr.io/netbirdio/netbird-operator:v0.8.0",
        "registry.isthmus.lab/probe:1",
        "quay.io/cilium/operator-generic:v1.19.6",
        "quay.io/cilium/cilium:v1.19.6",
    ]


def test_images_with_a_user_land_share_one_layer_at_the_bottom() -> None:
    with_base = [image for image in IMAGES if "base" in image.layers]
    assert len(with_base) == 3
    assert all(image.layers[0] == "base" for image in with_base)


def test_tools_of_chosen_images() -> None:
    assert images.tools([RELAY_IMAGE, images.AGENT_IMAGE]) == ["coredns", "netbird"]


def test_the_keeper_gets_the_image_that_the_program_asks_for_and_no_more_in_it_than_the_real_one_has() -> None:
    assert KeeperSettings().image == KEEPER_IMAGE
    (image,) = [candidate for candidate in IMAGES if candidate.reference == KEEPER_IMAGE]
    (layer,) = [LAYERS[name] for name in image.layers]
    assert not {"iproute2", "iptables", "nftables", "wireguard-tools", "curl"} & set(layer.packages)


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"There is no image docker\.io/x:1; the images are docker\.io/rancher/"):
        images.ensure_images(["docker.io/x:1"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./bin/ls", "usr/bin/ls"),
        ("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("./usr/bin/ls", "usr/bin/ls"),
        ("./etc/.pwd", "etc/.pwd"),
        ("./.hidden", ".hidden"),
        ("./", ""),
        (".", ""),
        ("./bin", "usr/bin"),
        ("./binaries/x", "binaries/x"),
    ],
)
def test_paths_are_those_of_a_merged_usr(name: str, path: str) -> None:
    assert merged_path(name) == path


class TestLayerWriter:
    def write(self, path: Path, recipe: LayerRecipe, source: Path) -> bytes:
        with path.open("wb") as file, tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            writer = LayerWriter(tar, recipe)
            writer.directory("tmp", 0o1777)
            writer.link("bin", "usr/bin")
            writer.text("etc/passwd", "root\n", 0o644)
            writer.file("usr/bin/tool", source, 0o755)
            writer.text("etc/passwd", "somebody else\n", 0o600)
        return path.read_bytes()

    def test_members_have_no_time_and_come_once_with_their_directories(self, tmp_path: Path) -> None:
        recipe = LayerRecipe("x")
        source = tmp_path / "tool"
        source.write_text("tool")
        self.write(tmp_path / "layer.tar", recipe, source)
        members = written(recipe, tmp_path / "layer.tar")
        assert list(members) == ["tmp", "bin", "etc", "etc/passwd", "usr", "usr/bin", "usr/bin/tool"]
        assert members["tmp"].mode == 0o1777
        assert members["bin"].linkname == "usr/bin"
        assert (members["etc/passwd"].mode, members["etc/passwd"].size) == (0o644, 5)
        assert members["usr/bin/tool"].mode == 0o755
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, 0, "")}

    def test_equal_input_gives_equal_bytes(self, tmp_path: Path) -> None:
        source = tmp_path / "tool"
        source.write_text("tool")
        first = self.write(tmp_path / "a.tar", LayerRecipe("x"), source)
        source.touch()
        assert self.write(tmp_path / "b.tar", LayerRecipe("x"), source) == first


class TestKeys:
    def artifacts(self, key: str) -> Mapping[str, Path]:
        return {"coredns": Path("/cache/tools/coredns") / key}

    def test_a_new_binary_gives_a_new_key_and_the_same_one_does_not(self) -> None:
        recipe = LAYERS["coredns"]
        assert layer_key(recipe, self.artifacts("a")) == layer_key(recipe, self.artifacts("a"))
        assert layer_key(recipe, self.artifacts("a")) != layer_key(recipe, self.artifacts("b"))

    def test_a_file_of_the_repository_counts_with_its_content(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = LayerRecipe("x", content=(File("x", source="lab/image_files/x"),))
        monkeypatch.setattr(layers, "REPOSITORY", tmp_path)
        file = tmp_path / "lab/image_files/x"
        file.parent.mkdir(parents=True)
        file.write_text("one")
        first = layer_key(recipe, {})
        file.write_text("two")
        assert layer_key(recipe, {}) != first

    def test_the_base_counts_for_what_is_left_out_above_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recipe = LAYERS["probe"]
        first = layer_key(recipe, {})
        monkeypatch.setitem(LAYERS, "base", LayerRecipe("base", packages=("bash",)))
        assert layer_key(recipe, {}) != first


class TestDocuments:
    layers = (
        images.Layer(images.Blob(f"sha256:{'1' * 64}", 10, images.LAYER_TYPE, Path("a")), f"sha256:{'a' * 64}"),
        images.Layer(images.Blob(f"sha256:{'2' * 64}", 20, images.LAYER_TYPE, Path("b")), f"sha256:{'b' * 64}"),
    )

    def test_a_config(self) -> None:
        recipe = ImageRecipe(
            "docker.io/x/y:1", ("one", "two"), entrypoint=("/e",), command=("c",), environment=(("A", "b"),)
        )
        document = config_document(recipe, self.layers)
        assert document["config"] == {"WorkingDir": "/", "Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": ["c"]}
        assert document["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"]}
        assert "created" not in json.dumps(document)

    def test_a_manifest_names_config_and_layers_in_order(self) -> None:
        config = images.Blob(f"sha256:{'c' * 64}", 5, images.CONFIG_TYPE, Path("c"))
        document = images.manifest_document(config, self.layers)
        assert document == {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": images.CONFIG_TYPE, "digest": f"sha256:{'c' * 64}", "size": 5},
            "layers": [
                {"mediaType": images.LAYER_TYPE, "digest": f"sha256:{'1' * 64}", "size": 10},
                {"mediaType": images.LAYER_TYPE, "digest": f"sha256:{'2' * 64}", "size": 20},
            ],
        }


def test_a_tree_needs_its_tool() -> None:
    assert LayerRecipe("x", content=(Tree("bpf", tool="cilium", source="bpf"),)).tools == ("cilium",)
