"""NetBird's operator: its release, its namespace, and its token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.netbird_operator import NetbirdOperator, NetbirdOperatorArgs
from components.waiting import Waiting
from domain.operator_values import token_mark
from tests.components.recording import NETBIRD_TOKEN, SECRET_VALUES, Run, run, run_stack, shared_run

OURS = {"name": "netbird", "labels": {"isthmus.dev/made-by": "isthmus"}}


class TestOperator:
    def test_values(self, mn: Run) -> None:
        release = mn.one("Release", "isthmus-netbird-operator")
        assert release.inputs["namespace"] == "netbird"
        assert release.inputs["values"] == {
            "managementURL": "https://api.netbird.io",
            "routingClientImage": "netbirdio/netbird:0.77.1",
            "netbirdAPI": {"keyFromSecret": {"name": "netbird-mgmt-api-key", "key": "NB_API_KEY"}},
            "keepTLSSecret": True,
            "webhook": {
                "enableCertManager": False,
                "failurePolicy": "Ignore",
                "namespaceSelectors": [{"key": "isthmus.dev/netbird-sidecars", "operator": "Exists"}],
            },
            "operator": {"podAnnotations": {"isthmus.dev/netbird-token": token_mark(NETBIRD_TOKEN, "mn")}},
        }

    def test_another_token_rolls_the_operator(self, mn: Run, tmp_path: Path) -> None:
        def annotations(found: Run) -> dict[str, str]:
            values = found.one("Release", "isthmus-netbird-operator").inputs["values"]
            return dict(values["operator"]["podAnnotations"])

        other = run_stack(tmp_path, "mn", secrets={**SECRET_VALUES, "isthmus:netbirdApiToken": "nbp_another"})
        assert annotations(other).keys() == annotations(mn).keys()
        assert annotations(other) != annotations(mn)

    def test_the_values_are_no_secret_and_known_in_a_preview(self) -> None:
        """A preview shows what of them changes."""
        release = shared_run("mn", preview=True).one("Release", "isthmus-netbird-operator")
        assert "values" not in release.secret_inputs
        assert token_mark(NETBIRD_TOKEN, "mn") in release.raw

    def test_the_namespace_is_marked_as_ours(self, mn: Run) -> None:
        namespace = mn.one("core/v1:Namespace")
        assert namespace.inputs["metadata"] == OURS
        assert not namespace.retain_on_delete

    @pytest.mark.parametrize(("stays", "metadata"), [(False, OURS), (True, {"name": "netbird"})])
    def test_a_namespace_of_others_stays_theirs(self, stays: bool, metadata: dict[str, Any]) -> None:
        async def body() -> None:
            NetbirdOperator(
                "netbird-operator",
                NetbirdOperatorArgs(
                    cluster="mn",
                    version="0.8.0",
                    management_url="https://nb.example.net",
                    agent_image="netbirdio/netbird:0.77.1",
                    api_token=NETBIRD_TOKEN,
                    mirror=None,
                    recover=None,
                    namespace_stays=stays,
                    waiting=Waiting("mn", pulumi.Output.from_input(""), None, active=False),
                    after=[],
                ),
            )

        namespace = run(body, stack="mn", config={}, preview=False).one("core/v1:Namespace")
        assert (namespace.retain_on_delete, namespace.inputs["metadata"]) == (stays, metadata)

    def test_token(self, mn: Run) -> None:
        secret = mn.one("core/v1:Secret", "netbird-operator-api-key")
        assert secret.inputs["metadata"] == {"name": "netbird-mgmt-api-key", "namespace": "netbird"}
        assert secret.inputs["stringData"] == {"NB_API_KEY": "nbp_token_of_the_tests"}
