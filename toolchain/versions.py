"""The versions of everything this program is built with and tried against: the only place that names them.

It owns the numbers, without a leading "v". The Go modules under ``toolchain/go`` repeat some of them, because a go.mod
can't read this file; ``tests/toolchain/test_versions.py`` holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PULUMI: Final = "3.259.0"
"""Pulumi CLI, its Python SDK, and the two scripts of that SDK that run beside the language host."""

PULUMI_PLUGINS: Final[Mapping[str, str]] = MappingProxyType(
    {"command": "1.2.1", "hcloud": "1.32.2", "kubernetes": "4.25.0"}
)
"""Resource plugins by package. The engine takes a plugin only in the exact version that the Python package asks for."""

HCLOUD_UPSTREAM: Final = "1.60.1"
"""The Terraform provider that pulumi-hcloud 1.32.2 bridges."""

KUBERNETES: Final = "1.34.2"
ETCD: Final = "3.6.5"
COREDNS: Final = "1.14.7"
NETBIRD: Final = "0.77.1"
NETBIRD_OPERATOR: Final = "0.8.0"
CILIUM: Final = "1.19.6"

GO: Final = "1.26.8"
"""The Go toolchain that is fetched when the machine has none that will do."""

GO_MINIMUM: Final = (1, 26)
"""A Go of at least this version is used as it is; the modules' go directives say the same."""
