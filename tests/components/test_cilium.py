"""Cilium: its release, the mark on its agents, and the policy for metadata services."""

from __future__ import annotations

from pathlib import Path

from tests.components.recording import Run, run_stack
from tests.domain.samples import MN, changed


def mark(found: Run) -> str:
    annotations = found.one(":DaemonSetPatch", "cilium-agents").inputs["metadata"]["annotations"]
    return str(annotations["isthmus.dev/release-sha256"])


def test_the_release(mn: Run) -> None:
    release = mn.one(":Release", "isthmus-cilium")
    assert (release.inputs["namespace"], release.inputs["version"]) == ("kube-system", "1.19.6")
    assert release.inputs["repositoryOpts"] == {"repo": "https://helm.cilium.io/"}
    assert "machines-kubeconfig" in release.depends_on


def test_another_release_marks_the_agents_anew_and_the_same_one_does_not(mn: Run, tmp_path: Path) -> None:
    """The wait for the agents follows the mark: it is made when version or values have changed."""
    (tmp_path / "again").mkdir()
    again = run_stack(tmp_path / "again", "mn")
    version = run_stack(tmp_path, "mn", config=changed(MN, {"cilium": {"version": "1.19.5"}}))
    values = run_stack(tmp_path, "mn", config=changed(MN, {"cilium": {"tunnel_port": 8223}}))
    assert mark(again) == mark(mn)
    assert len({mark(mn), mark(version), mark(values)}) == 3


def test_the_agents_are_the_charts_and_go_with_it(mn: Run) -> None:
    agents = mn.one(":DaemonSetPatch", "cilium-agents")
    assert (agents.inputs["metadata"]["name"], agents.inputs["metadata"]["namespace"]) == ("cilium", "kube-system")
    assert "spec" not in agents.inputs
    assert agents.depends_on == {"isthmus-cilium"}
    assert agents.retain_on_delete
    assert agents.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


def test_metadata_services_are_denied_once_the_kind_of_the_policy_exists(mn: Run) -> None:
    policy = mn.one(":CiliumClusterwideNetworkPolicy", "cilium-deny-metadata")
    assert "cilium-agents" in policy.depends_on
    assert policy.parent == mn.one("isthmus:cilium:Cilium").urn == mn.one(":Release", "isthmus-cilium").parent
    assert policy.inputs["spec"]["egressDeny"] == [{"toCIDR": ["169.254.169.254/32"]}]
