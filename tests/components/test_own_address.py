"""The address with which this machine goes out."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address

import pytest

import components.own_address as own_address_module
from components.own_address import SOMEWHERE, own_address


def test_the_own_address_is_that_of_the_way_out() -> None:
    """As the system's own tool tells it; None where there is no way out."""
    told = subprocess.run(["ip", "-4", "-json", "route", "get", SOMEWHERE[0]], capture_output=True, text=True)
    expected = IPv4Address(json.loads(told.stdout)[0]["prefsrc"]) if told.returncode == 0 else None
    assert own_address() == expected


def test_without_a_way_out_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A datagram to everybody has to be allowed first, so the kernel refuses the way."""
    monkeypatch.setattr(own_address_module, "SOMEWHERE", ("255.255.255.255", 9))
    assert own_address() is None
