"""Which way a tool comes: taken as installed, downloaded, or built. A pure choice; the work is done elsewhere."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping

from toolchain.errors import SettingError
from toolchain.recipes import Recipe

SETTING = "ISTHMUS_TOOLCHAIN"


class Way(enum.Enum):
    """How a tool is made ready."""

    INSTALLED = "installed"
    """What is on the machine already, in the pinned version."""

    DOWNLOAD = "download"
    """The upstream's own release."""

    BUILD = "build"
    """Go modules, pinned by the repository."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Way | None:
    """The way that the environment forces: ``ISTHMUS_TOOLCHAIN``, else "build" under ``CI=true``, else None.

    In CI the result must depend on the repository alone, not on what a runner's image has on its PATH.
    """
    value = environment.get(SETTING, "")
    if value:
        try:
            return Way(value)
        except ValueError:
            allowed = ", ".join(way.value for way in Way)
            raise SettingError(f"{SETTING} is {value!r}; it must be one of {allowed}, or unset.") from None
    return Way.BUILD if environment.get("CI", "").lower() == "true" else None


def order(recipe: Recipe, forced: Way | None) -> tuple[Way, ...]:
    """The ways to try for this recipe, in turn. What has no official release is built, whatever is forced."""
    if recipe.official is None:
        return (Way.BUILD,)
    if forced is not None:
        return (forced,)
    return (Way.INSTALLED, Way.DOWNLOAD, Way.BUILD)
