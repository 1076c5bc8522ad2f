"""The key by which the keepers of a cluster know each other."""

from __future__ import annotations

from components.keeper_key import KEY_BYTES, _KeyProvider
from tests.components.recording import KEEPER_KEY, Run


class TestKey:
    def test_it_is_secret(self, mn: Run) -> None:
        secret = mn.one("core/v1:Secret", "isthmus-keeper-key")
        assert secret.inputs["stringData"] == {"key": KEEPER_KEY}
        assert "stringData" in secret.secret_inputs
        assert mn.one(":KeeperKey").additional_secret_outputs == ("key",)


def test_each_is_random_and_stays() -> None:
    provider = _KeyProvider()
    first, second = ((provider.create({"key": None}).outs or {})["key"] for _ in range(2))
    assert first != second
    assert len(bytes.fromhex(first)) == KEY_BYTES == 32
    assert provider.diff("keeper-key", {"key": first}, {"key": None}).changes is False
