"""Pages, filters, label selectors, sorting."""

from __future__ import annotations

from typing import Any

import pytest
from hcloud import APIException

from lab.standins.hetzner_api import labels
from tests.lab.hetzner_api.conftest import StandIn

SELECTORS = [
    ("env=prod", ["a"]),
    ("env==prod", ["a"]),
    ("env!=prod", ["b", "c"]),
    ("env", ["a", "b"]),
    ("!env", ["c"]),
    ("env in (prod, dev)", ["a", "b"]),
    ("env notin (prod)", ["b", "c"]),
    ("env,tier=web", ["a"]),
    ("env,!tier", ["b"]),
    ("example.com/x=1", ["c"]),
]


@pytest.fixture
def labelled(client: Any) -> Any:
    for name, own in {"b": {"env": "dev"}, "a": {"env": "prod", "tier": "web"}, "c": {"example.com/x": "1"}}.items():
        client.firewalls.create(name=name, labels=own)
    return client


@pytest.mark.parametrize(("selector", "names"), SELECTORS)
def test_label_selectors(labelled: Any, selector: str, names: list[str]) -> None:
    found = labelled.firewalls.get_all(label_selector=selector)
    assert sorted(firewall.name for firewall in found) == names


@pytest.mark.parametrize("selector", ["=x", "a in b", "a=b=c", "a b", "a,,b"])
def test_a_wrong_selector(labelled: Any, selector: str) -> None:
    with pytest.raises(APIException) as error:
        labelled.firewalls.get_list(label_selector=selector)
    assert error.value.code == "invalid_input"


@pytest.mark.parametrize(
    "own", [{"": "x"}, {"a/b/c": ""}, {"-a": ""}, {"a": "x y"}, {"hetzner.cloud/a": ""}, {"a": "x" * 64}]
)
def test_wrong_labels(own: dict[str, str]) -> None:
    assert labels.label_problems(own)


def test_sorting(labelled: Any) -> None:
    assert [firewall.name for firewall in labelled.firewalls.get_all()] == ["b", "a", "c"]
    assert [firewall.name for firewall in labelled.firewalls.get_all(sort=["name:desc"])] == ["c", "b", "a"]
    with pytest.raises(APIException) as error:
        labelled.firewalls.get_all(sort=["colour"])
    assert error.value.code == "invalid_input"


def test_by_name(labelled: Any) -> None:
    assert labelled.firewalls.get_by_name("a").labels == {"env": "prod", "tier": "web"}
    assert labelled.firewalls.get_by_name("z") is None


def test_pages(api: StandIn, client: Any) -> None:
    for number in range(7):
        client.placement_groups.create(name=f"group-{number}", type="spread")
    answer = api.call("GET", "/placement_groups?page=2&per_page=3")
    assert [group["name"] for group in answer.json()["placement_groups"]] == ["group-3", "group-4", "group-5"]
    assert answer.json()["meta"]["pagination"] == {
        "page": 2,
        "per_page": 3,
        "previous_page": 1,
        "next_page": 3,
        "last_page": 3,
        "total_entries": 7,
    }
    assert f'<{api.endpoint}/placement_groups?page=3&per_page=3>; rel="next"' in answer.headers["Link"]
    last = api.call("GET", "/placement_groups?page=3&per_page=3").json()
    assert last["meta"]["pagination"]["next_page"] is None
    assert len(last["placement_groups"]) == 1
    assert api.call("GET", "/placement_groups?page=9").json()["placement_groups"] == []
    assert api.call("GET", "/placement_groups?per_page=1000").json()["meta"]["pagination"]["per_page"] == 50
    assert api.call("GET", "/placement_groups?page=0").json()["error"]["code"] == "invalid_input"


def test_the_client_collects_all_pages(client: Any) -> None:
    for number in range(53):
        client.placement_groups.create(name=f"group-{number}", type="spread")
    assert len(client.placement_groups.get_all()) == 53
