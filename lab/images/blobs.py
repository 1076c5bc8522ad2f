"""What images are in the end: blobs with a digest, as a registry serves them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+zstd"


@dataclass(frozen=True)
class Blob:
    """Content by digest (``sha256:<hex>``): what a registry serves."""

    digest: str
    size: int
    media_type: str
    path: Path


@dataclass(frozen=True)
class Layer:
    """A finished layer; ``diff_id`` is the digest of the tar as it is unpacked."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True)
class Image:
    """A finished image: ``reference`` is its full name with tag, ``blobs`` its config and layers."""

    reference: str
    manifest: Blob
    blobs: tuple[Blob, ...] = field(repr=False)


def digest(data: bytes) -> str:
    """The digest of content, ``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical(document: Mapping[str, object]) -> bytes:
    """Equal documents as equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
