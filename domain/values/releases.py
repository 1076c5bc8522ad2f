"""Rules for what is installed: versions, checksums, images."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StrictStr

from domain.values.patterns import pattern
from domain.values.rule_error import RuleError

K3S_MINIMUM_MINOR: Final = 34
"""Kubernetes 1.34: what this program is tried with. Much older k3s ships a CoreDNS without the options that we set."""


def k3s_version(value: str) -> str:
    """A k3s release as its tag says it."""
    found = re.fullmatch(r"v1\.([0-9]{1,3})\.[0-9]{1,3}(-rc[0-9]{1,3})?\+k3s[0-9]{1,3}", value, re.ASCII)
    if not found:
        raise RuleError("is not the tag of a k3s release")
    if int(found[1]) < K3S_MINIMUM_MINOR:
        raise RuleError(
            f"is older than v1.{K3S_MINIMUM_MINOR}, whose CoreDNS knows the options of our zones",
            f"take a release of v1.{K3S_MINIMUM_MINOR} or later",
        )
    return value


_CHECKSUM_WITH_MORE: Final = re.compile(
    r"(sha256:)?([0-9a-f]{64})([ \t]+\*?[A-Za-z0-9._/-]{1,100})?", re.ASCII | re.IGNORECASE
)
"""As tools print a checksum: in capitals, behind the name of its kind, before the name of the file."""


def sha256_hex(value: str, of: str = "`k3s` from sha256sum-amd64.txt") -> str:
    """A SHA-256 checksum, 64 lower-case hexadecimal digits."""
    if not re.fullmatch(r"[0-9a-f]{64}", value, re.ASCII):
        meant = _CHECKSUM_WITH_MORE.fullmatch(value.strip())
        raise RuleError(
            "is not a SHA-256 checksum of 64 lower-case hexadecimal digits",
            f"write {meant[2].lower()}" if meant else f"copy that of {of} of the release",
            public=meant is not None,
        )
    return value


def sha256_hex_arm64(value: str) -> str:
    """A SHA-256 checksum, 64 lower-case hexadecimal digits."""
    return sha256_hex(value, "`k3s-arm64` from sha256sum-arm64.txt")


CILIUM_MINOR: Final = "1.19"
"""1.20 pins the interface index of wt0, which changes whenever the NetBird agent starts; not tried with it."""


def cilium_version(value: str) -> str:
    """A release of Cilium that the link was tried with."""
    if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", value, re.ASCII):
        raise RuleError("is not a version of Cilium's chart")
    if not value.startswith(f"{CILIUM_MINOR}."):
        raise RuleError(f"is not of {CILIUM_MINOR}, the only one the link was tried with", f"take a {CILIUM_MINOR}.x")
    return value


def chart_version(value: str) -> str:
    """A semantic version without a leading v."""
    if not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(-[0-9A-Za-z.-]{1,40})?", value, re.ASCII):
        raise RuleError("is not a chart version")
    return value


def image(value: str) -> str:
    """A container image with a tag, a digest or both; without one, nobody knows what runs, and with the tag ``latest``
    alone it is another image with each pull.
    """
    name = r"[a-z0-9]([a-z0-9._:-]{0,100}[a-z0-9])?(/[a-z0-9]([a-z0-9._-]{0,100}[a-z0-9])?){0,5}"
    tag, digest = r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", r"@sha256:[0-9a-f]{64}"
    if not re.fullmatch(rf"{name}({tag}({digest})?|{digest})", value, re.ASCII):
        raise RuleError("is not an image with a tag")
    if re.search(r"[:-]latest$", value):
        raise RuleError("is another image with each pull, so nobody knows what runs")
    return value


def version_of_image(value: str) -> tuple[int, int, int] | None:
    """The version that the tag of an image tells, None where it tells none."""
    tag = r":v?([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})([-_.][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$"
    found = re.search(tag, value, re.ASCII)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


RELAY_MINIMUM: Final = (1, 14, 5)
"""The relay's Corefile uses forward's read_timeout, which is of CoreDNS 1.14.5."""


def relay_image(value: str) -> str:
    """CoreDNS in a version that knows every option of the relay's Corefile, where the tag tells the version."""
    found = version_of_image(value)
    if found is not None and found < RELAY_MINIMUM:
        minimum = ".".join(map(str, RELAY_MINIMUM))
        raise RuleError(
            f"is older than CoreDNS {minimum}, which knows the options of the relay", f"take {minimum} or later"
        )
    return value


PYTHON_MINIMUM: Final = (3, 11)
"""What the keeper is written for."""


def python_image(value: str) -> str:
    """Python in a version that the keeper is written for, where the tag tells the version."""
    found = re.search(
        r":([0-9]{1,2})\.([0-9]{1,3})(\.[0-9]{1,3})?([-_.][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$", value
    )
    if found is not None and (int(found[1]), int(found[2])) < PYTHON_MINIMUM:
        minimum = ".".join(map(str, PYTHON_MINIMUM))
        raise RuleError(f"is older than Python {minimum}, which the keeper is written for", f"take {minimum} or later")
    return value


K3sVersion = Annotated[
    StrictStr, AfterValidator(k3s_version), pattern(r"v1\.[0-9]{1,3}\.[0-9]{1,3}(-rc[0-9]{1,3})?\+k3s[0-9]{1,3}")
]
Sha256 = Annotated[StrictStr, AfterValidator(sha256_hex), pattern(r"[0-9a-f]{64}")]
Sha256Arm64 = Annotated[StrictStr, AfterValidator(sha256_hex_arm64), pattern(r"[0-9a-f]{64}")]
CiliumVersion = Annotated[
    StrictStr, AfterValidator(cilium_version), pattern(rf"{CILIUM_MINOR.replace('.', '[.]')}[.][0-9]{{1,3}}")
]
ChartVersion = Annotated[StrictStr, AfterValidator(chart_version), pattern(r"[0-9]{1,4}(\.[0-9]{1,4}){2}(-.+)?")]
Image = Annotated[StrictStr, AfterValidator(image), pattern(r"[a-z0-9].*[:@].+")]
RelayImage = Annotated[StrictStr, AfterValidator(image), AfterValidator(relay_image), pattern(r"[a-z0-9].*[:@].+")]
PythonImage = Annotated[StrictStr, AfterValidator(image), AfterValidator(python_image), pattern(r"[a-z0-9].*[:@].+")]
