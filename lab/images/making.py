"""Images: their documents, and all of them made ready."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.images.blobs import CONFIG_TYPE, MANIFEST_TYPE, Blob, Image, Layer, canonical, digest
from lab.images.layers import ensure_layer, root
from lab.images.model import ImageRecipe
from lab.images.recipes import IMAGES, LAYERS
from toolchain import cache
from toolchain.progress import Report, Reporter


def ensure_images(references: Sequence[str] | None = None, *, progress: Report | None = None) -> list[Image]:
    """Make the images (all, or those named) ready and return them; cheap when the cache has them.

    Builds the tools that they need, where those are not in the cache. Raises :class:`toolchain.ToolchainError`.
    """
    chosen = [recipe for recipe in IMAGES if references is None or recipe.reference in references]
    missing = set(references or ()) - {recipe.reference for recipe in chosen}
    if missing:
        known = ", ".join(recipe.reference for recipe in IMAGES)
        raise ValueError(f"There is no image {', '.join(sorted(missing))}; the images are {known}.")
    layers: dict[str, Layer] = {}
    images = []
    for recipe in chosen:
        for name in recipe.layers:
            if name not in layers:
                layers[name] = ensure_layer(LAYERS[name], progress)
        images.append(_ensure_image(recipe, [layers[name] for name in recipe.layers], progress))
    return images


def tools(references: Sequence[str] | None = None) -> list[str]:
    """The toolchain's artifacts that the images (all, or those named) are made of."""
    chosen = [recipe for recipe in IMAGES if references is None or recipe.reference in references]
    return list(dict.fromkeys(tool for recipe in chosen for name in recipe.layers for tool in LAYERS[name].tools))


def config_document(recipe: ImageRecipe, layers: Sequence[Layer]) -> dict[str, object]:
    """The OCI image configuration; equal layers and recipe give equal bytes, so it names no time."""
    config: dict[str, object] = {"WorkingDir": recipe.working_directory}
    if recipe.environment:
        config["Env"] = [f"{name}={value}" for name, value in recipe.environment]
    if recipe.entrypoint:
        config["Entrypoint"] = list(recipe.entrypoint)
    if recipe.command:
        config["Cmd"] = list(recipe.command)
    return {
        "architecture": _go_architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


def manifest_document(config: Blob, layers: Sequence[Layer]) -> dict[str, object]:
    """The OCI image manifest."""

    def descriptor(blob: Blob) -> dict[str, object]:
        return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}

    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(config),
        "layers": [descriptor(layer.blob) for layer in layers],
    }


def _ensure_image(recipe: ImageRecipe, layers: Sequence[Layer], progress: Report | None) -> Image:
    config_bytes = canonical(config_document(recipe, layers))
    config = Blob(digest(config_bytes), len(config_bytes), CONFIG_TYPE, Path("config.json"))
    manifest_bytes = canonical(manifest_document(config, layers))
    manifest = Blob(digest(manifest_bytes), len(manifest_bytes), MANIFEST_TYPE, Path("manifest.json"))
    group = root() / recipe.slug
    key = manifest.digest.removeprefix("sha256:")[:16]

    def work(partial: Path) -> Mapping[str, object]:
        (partial / config.path).write_bytes(config_bytes)
        (partial / manifest.path).write_bytes(manifest_bytes)
        return {"reference": recipe.reference, "digest": manifest.digest}

    report = Reporter(f"image {recipe.reference}", progress)
    image = cache.ensure(
        group,
        key,
        work,
        on_wait=lambda holder: report("wait", f"for {holder}"),
        on_made=lambda _: report("done", f"{sum(layer.blob.size for layer in layers) >> 20} MiB"),
    )

    def placed(blob: Blob) -> Blob:
        return Blob(blob.digest, blob.size, blob.media_type, image / blob.path)

    return Image(recipe.reference, placed(manifest), (placed(config), *(layer.blob for layer in layers)))


def _go_architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
