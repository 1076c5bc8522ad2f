"""Which way a tool comes."""

from __future__ import annotations

import pytest

from toolchain import RECIPES, SettingError, Way
from toolchain.ways import from_environment, order


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"CI": "true"}, Way.BUILD),
        ({"CI": "TRUE"}, Way.BUILD),
        ({"CI": "false"}, None),
        ({"CI": ""}, None),
        ({"ISTHMUS_TOOLCHAIN": ""}, None),
        ({"ISTHMUS_TOOLCHAIN": "installed"}, Way.INSTALLED),
        ({"ISTHMUS_TOOLCHAIN": "download", "CI": "true"}, Way.DOWNLOAD),
        ({"ISTHMUS_TOOLCHAIN": "build"}, Way.BUILD),
    ],
)
def test_what_the_environment_forces(environment: dict[str, str], expected: Way | None) -> None:
    assert from_environment(environment) is expected


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(SettingError) as raised:
        from_environment({"ISTHMUS_TOOLCHAIN": "docker"})
    assert str(raised.value) == (
        "ISTHMUS_TOOLCHAIN is 'docker'; it must be one of installed, download, build, or unset."
    )


@pytest.mark.parametrize(
    ("tool", "forced", "expected"),
    [
        ("pulumi", None, (Way.INSTALLED, Way.DOWNLOAD, Way.BUILD)),
        ("pulumi-resource-command", None, (Way.INSTALLED, Way.DOWNLOAD, Way.BUILD)),
        ("pulumi", Way.DOWNLOAD, (Way.DOWNLOAD,)),
        ("kubernetes", None, (Way.BUILD,)),
        ("kubernetes", Way.INSTALLED, (Way.BUILD,)),
        ("netbird-operator", Way.DOWNLOAD, (Way.BUILD,)),
    ],
)
def test_order(tool: str, forced: Way | None, expected: tuple[Way, ...]) -> None:
    assert order(RECIPES[tool], forced) == expected
