"""The REST client and the dynamic providers, against a server that refuses what the real one refuses."""

from __future__ import annotations

import base64

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic.dynamic import serialize_provider

import components.netbird_api as netbird_api
from components.netbird_api import (
    PolicyProvider,
)

RECORDED = {
    "GroupProvider": "gASVLwAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjA1Hcm91cFByb3ZpZGVylJOUKYGULg==",
    "DnsZoneProvider": "gASVMQAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjA9EbnNab25lUHJvdmlkZXKUk5QpgZQu",
    "NetworkResourceProvider": (
        "gASVOQAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjBdOZXR3b3JrUmVzb3VyY2VQcm92aWRlcpSTlCmBlC4="
    ),
    "PolicyProvider": "gASVMAAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjA5Qb2xpY3lQcm92aWRlcpSTlCmBlC4=",
    "RouterPeersProvider": "gASVNQAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjBNSb3V0ZXJQZWVyc1Byb3ZpZGVylJOUKYGULg==",
}
"""What the states of earlier releases hold in ``__provider``."""


@pytest.mark.parametrize("name", RECORDED)
def test_providers_of_recorded_states_are_found(name: str) -> None:
    assert type(dill.loads(base64.b64decode(RECORDED[name]))) is getattr(netbird_api, name)


def test_what_is_recorded_is_a_reference_and_no_code() -> None:
    text = base64.b64decode(serialize_provider(PolicyProvider()))
    assert b"components.netbird_objects" in text
    assert len(text) < 100
