"""Charts as Helm releases: where they come from, and how a release survives what goes wrong."""

from __future__ import annotations

from pathlib import Path

from components.chart import ChartSource
from tests.components.recording import Run, run_stack, shared_run
from tests.domain.samples import MN, changed


class TestCharts:
    def test_from_a_repository(self) -> None:
        source = ChartSource("cilium", "1.19.6", "https://helm.cilium.io/").location(None)
        assert source == {
            "chart": "cilium",
            "version": "1.19.6",
            "repositoryOpts": {"repo": "https://helm.cilium.io/"},
        }

    def test_from_a_registry(self) -> None:
        source = ChartSource("op", "0.8.0", "oci://ghcr.io/x/op").location(None)
        assert source == {"chart": "oci://ghcr.io/x/op", "version": "0.8.0"}

    def test_from_the_mirror(self, tmp_path: Path) -> None:
        config = changed(MN, {"mirrors": {"charts": "http://192.0.2.1/charts"}})
        found = run_stack(tmp_path, "mn", config=config)
        charts = {item.name: item.inputs["chart"] for item in found.of("Release")}
        assert charts == {
            "isthmus-cilium": "http://192.0.2.1/charts/cilium-1.19.6.tgz",
            "isthmus-netbird-operator": "http://192.0.2.1/charts/netbird-operator-0.8.0.tgz",
        }

    def test_releases_wait_and_are_not_purged(self, mn: Run) -> None:
        for item in mn.some("Release"):
            assert item.inputs["timeout"] == 600
            assert "atomic" not in item.inputs
            assert "skipAwait" not in item.inputs
            assert item.inputs["name"] == item.name, "a random name would make a second release after a lost state"

    def test_values_are_known_in_a_first_preview(self) -> None:
        values = shared_run("mn", preview=True).one("Release", "isthmus-cilium").inputs["values"]
        assert values["MTU"] == 1280
        assert values["egressGateway"] == {"enabled": True, "reconciliationTriggerInterval": "100ms"}
