"""The guard's DaemonSet. What its script does on a node is in test_guard_script.py."""

from __future__ import annotations

from tests.components.recording import Run


def test_guard_knows_the_links_ranges(mn: Run) -> None:
    pod = mn.one(":DaemonSet", "isthmus-guard").inputs["spec"]["template"]["spec"]
    environment = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert environment["RANGES"] == "10.42.0.0/16 10.43.0.0/16 100.92.0.7/32"
    assert environment["PODS"] == "10.52.0.0/16"
    assert (pod["hostNetwork"], pod["tolerations"]) == (True, [{"operator": "Exists"}])
    assert "nodeSelector" not in pod
