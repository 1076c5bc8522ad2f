"""Stack files of clusters with three servers, at Hetzner and over SSH."""

from __future__ import annotations

from typing import Final

import pytest

from tests.domain.samples import DE, HOST_KEYS, MN, changed

AT_HETZNER: Final = changed(DE, {"hetzner.control_plane.count": 3, "hetzner.workers.count": 2})
OVER_SSH: Final = changed(
    MN,
    {
        "on_premise.machines": [
            {"name": f"s-{number}", "address": f"192.168.7.{number}", "role": "server", "host_key": HOST_KEYS[0]}
            for number in (1, 2, 3)
        ]
        + [
            {"name": f"mn-{number}", "address": f"192.168.7.1{number}", "role": "agent", "host_key": HOST_KEYS[0]}
            | ({"router": True} if number == 2 else {})
            for number in (2, 3, 4, 5)
        ]
    },
)
CASES: Final = [
    pytest.param("de", AT_HETZNER, "de-server-1", id="hetzner"),
    pytest.param("mn", OVER_SSH, "s-1", id="on-premise"),
]
COMMAND: Final = "command:remote:Command"
