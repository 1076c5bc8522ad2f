"""Drafts: what is known of settings that may have gaps, and that nobody asks for a setting that there is not."""

from __future__ import annotations

import pytest

from domain.reading import read_stack, whole
from domain.settings.draft import known, with_values
from tests.domain.samples import DE, MN, REMOVE, changed


def test_what_is_right_is_known_and_what_is_not_is_none() -> None:
    draft = read_stack("de", changed(DE, {"network.pod_cidr": "no", "hetzner.location": REMOVE}))
    assert str(known(draft.settings, "network", "service_cidr")) == "10.43.0.0/16"
    assert known(draft.settings, "network", "pod_cidr") is None
    assert known(draft.settings, "hetzner", "location") is None
    assert known(draft.settings, "on_premise", "kubeconfig", "context") is None


@pytest.mark.parametrize(
    "path",
    [("netwrok",), ("network", "pod_cdir"), ("hetzner", "location", "name"), ("on_premise", "kubeconfig", "contxt")],
    ids=".".join,
)
def test_a_path_that_no_setting_has_is_refused_whatever_is_there(path: tuple[str, ...]) -> None:
    for config in (DE, MN):
        with pytest.raises(LookupError, match=rf"^StackSettings has no setting {'[.]'.join(path)}$"):
            known(read_stack("de", config).settings, *path)


def test_a_section_that_was_refused_has_nothing() -> None:
    draft = read_stack("de", changed(DE, {"hetzner": "nowhere"}))
    assert known(draft.settings, "hetzner") is not None
    assert known(draft.settings, "hetzner", "location") is None


def test_only_whole_settings_are_taken() -> None:
    assert whole(read_stack("de", DE)).stack == "de"
    with pytest.raises(ValueError, match=r"^de: the settings have a gap$"):
        whole(read_stack("de", changed(DE, {"network": REMOVE})))


def test_other_values_leave_the_draft_as_it_was() -> None:
    draft = read_stack("de", DE)
    assert known(with_values(draft, "cilium", {"mtu": 1300}).settings, "cilium", "mtu") == 1300
    assert known(draft.settings, "cilium", "mtu") == 1280
