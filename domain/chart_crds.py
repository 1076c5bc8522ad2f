"""The custom resource definitions (CRDs) of a Helm chart, out of the record that Helm keeps of its release.

The record holds the chart as it was installed, so there is nothing to fetch, whatever place the chart came from.
Shape: https://github.com/helm/helm/blob/v3.19.0/pkg/storage/driver/util.go, and pkg/chart/chart.go for the files.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

DIRECTORY: Final = "crds/"
MARK: Final = "isthmus.dev/chart-crd"
"""Annotation of a CRD: a hash of what the chart says of it."""


@dataclass(frozen=True)
class Crd:
    """One CRD as the chart has it."""

    name: str
    manifest: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """The same text for the same definition."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()[:16]

    def marked(self) -> dict[str, Any]:
        """The manifest with its mark on it."""
        metadata = self.manifest["metadata"]
        annotations = {**(metadata.get("annotations") or {}), MARK: self.mark}
        return {**self.manifest, "metadata": {**metadata, "annotations": annotations}}


def crds_of_record(secret: Mapping[str, Any]) -> tuple[str, list[Crd]]:
    """Name and version of the chart, and its CRDs by their names, out of the Secret with the record of a release.

    Raises ValueError for what is no such record.
    """
    try:
        # In base64 by Helm, and once more by the Secret.
        packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        chart = json.loads(gzip.decompress(packed))["chart"]
        metadata = chart["metadata"]
        found = [crd for file in chart.get("files") or [] for crd in _crds_of_file(file)]
        return f"{metadata['name']} {metadata['version']}", sorted(found, key=lambda crd: crd.name)
    except (KeyError, TypeError, ValueError, OSError, EOFError, zlib.error, yaml.YAMLError) as error:
        raise ValueError(f"it is no record of a release of Helm 3 ({type(error).__name__})") from None


def _crds_of_file(file: Mapping[str, Any]) -> Iterator[Crd]:
    name = str(file["name"])
    if name.startswith(DIRECTORY) and name.endswith((".yaml", ".yml", ".json")):
        # The loader in C: two of the files have 130 kB, and the other takes seconds for them.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        for manifest in yaml.load_all(base64.b64decode(file["data"]), Loader=loader):
            if manifest and manifest.get("kind") == "CustomResourceDefinition":
                yield Crd(manifest["metadata"]["name"], manifest)
