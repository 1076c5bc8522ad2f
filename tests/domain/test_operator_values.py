"""What the operator's chart is given."""

from __future__ import annotations

import pytest

from domain.operator_values import operator_values, token_mark

TOKEN = "nbp_Zq3kV8sT1xWcR6yHbN0dLmPfGjU2aE5i4o9X"


def test_keep_tls_secret_lies_where_the_chart_reads_it() -> None:
    values = operator_values("https://nb.example.net", "netbirdio/netbird:0.77.1", "mark")
    assert values["keepTLSSecret"] is True
    assert "keepTLSSecret" not in values["webhook"]


class TestTokenMark:
    def test_is_the_same_for_the_same_token(self) -> None:
        assert token_mark(TOKEN, "mn") == "89de46ddfdb7"

    @pytest.mark.parametrize(("token", "stack"), [(TOKEN + "x", "mn"), (TOKEN, "de")])
    def test_is_another_for_another_token_and_in_another_stack(self, token: str, stack: str) -> None:
        assert token_mark(token, stack) != token_mark(TOKEN, "mn")
