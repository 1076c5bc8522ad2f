"""The lab's container images, made here from Debian packages and the toolchain's binaries: no registry is reached.

An image has the name that charts and manifests use for the real one, and what those call in it. This package owns the
image list, the layers and their place in the cache; :mod:`lab.mirror` serves them. Layers and images are artifacts of
the cache, ``<cache>/images/<layer or image>/<key>/``; the key is made of all that goes in, so that they are made again
when an input changes and not otherwise.

Layers of Debian packages are written straight from the packages' own archives: no maintainer script runs and no tree
lies on the disk. What scripts would have made and something needs is listed (:mod:`~lab.images.recipes`).
All images that need a user land share one such layer, so that a node unpacks it once.
"""

from __future__ import annotations

from lab.images.blobs import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Blob, Image, Layer
from lab.images.layers import HOST_PACKAGES
from lab.images.making import ensure_images, manifest_document, tools
from lab.images.recipes import AGENT_IMAGE, NETBIRD_OPERATOR_IMAGE

__all__ = [
    "AGENT_IMAGE",
    "CONFIG_TYPE",
    "HOST_PACKAGES",
    "LAYER_TYPE",
    "MANIFEST_TYPE",
    "NETBIRD_OPERATOR_IMAGE",
    "Blob",
    "Image",
    "Layer",
    "ensure_images",
    "manifest_document",
    "tools",
]
