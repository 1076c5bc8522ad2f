"""Checks begin when all that they ask for is known: each thing comes at its own time, and each one is waited for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lab.kubernetes import Cluster
from lab.status import RouterStatus
from lab.topology import DEFAULT
from lab.verify import settling
from lab.verify.checks import World
from lab.verify.sessions import Session
from lab.verify.settling import settle
from lab.verify.workload import BACKENDS, PLACEMENTS, STICKY, ProbePod, Probes, cluster_ip_service, pod_name


def probes_of(site: str) -> Probes:
    router = RouterStatus(node=f"{site}-2", node_ip="", netbird_ip="", connected=True)
    pods = tuple(
        ProbePod(name=pod_name(placement), placement=placement, node="", address=f"{site} {placement}")
        for placement in PLACEMENTS
    )
    names = [*map(cluster_ip_service, BACKENDS), STICKY]
    services = {name: f"{site} {name}" for name in names}
    return Probes(site=DEFAULT.site(site), cluster=cast("Cluster", None), router=router, pods=pods, services=services)


PROBES = {site.name: probes_of(site.name) for site in DEFAULT.sites}
ADDRESSES: dict[str, list[str]] = {}
for _probes in PROBES.values():
    ADDRESSES[_probes.service_name] = [pod.address for pod in _probes.pods]
    ADDRESSES |= {_probes.pod_host(pod): [pod.address] for pod in _probes.pods}
    ADDRESSES |= {_probes.service_host(name): [address] for name, address in _probes.services.items()}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "LOOK_EVERY_SECONDS", 0.0)


class Asked:
    """A pod to which one thing comes late: with its second question. Of a name with two addresses the second does, and
    another one is a former pod's until then.
    """

    def __init__(self, late: str = "") -> None:
        self.late = late
        self.questions: list[str] = []

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        question = f"{do} {request.get('address') or request.get('host') or request.get('name')}"
        self.questions.append(question)
        found = list(ADDRESSES.get(str(request.get("name")), ()))
        if question == self.late and self.questions.count(question) == 1:
            return {"ok": do == "resolve", "addresses": found[:1] if len(found) > 1 else ["a former one"]}
        return {"ok": True, "addresses": found}


def world_of(asked: Asked, *, services: bool = True) -> World:
    sessions = {(site, placement): cast("Session", Asked()) for site in PROBES for placement in PLACEMENTS}
    sessions["de", "other"] = cast("Session", asked)
    return World(
        lab=DEFAULT,
        probes=PROBES,
        sessions=sessions,
        pod_mtu={},
        api=cast("Any", None),
        cluster_ips=dict.fromkeys(PROBES, services),
    )


MN = PROBES["mn"]
LATE = [
    *(f"tcp {pod.address}" for pod in MN.pods),
    *(f"tcp {address}" for address in MN.services.values()),
    *(f"udp {MN.services[cluster_ip_service(backend)]}" for backend in BACKENDS),
    f"resolve {MN.service_name}",
    *(f"resolve {MN.pod_host(pod)}" for pod in MN.pods),
    *(f"resolve {MN.service_host(cluster_ip_service(backend))}" for backend in BACKENDS),
    f"resolve {PROBES['de'].service_name}",
]


@pytest.mark.parametrize("late", LATE)
def test_what_comes_late_is_asked_for_again(late: str) -> None:
    asked = Asked(late)
    settle(world_of(asked))
    assert asked.questions.count(late) == 2


def test_names_are_asked_for_last_since_a_denial_is_remembered() -> None:
    asked = Asked(f"udp {MN.services[cluster_ip_service('host')]}")
    settle(world_of(asked))
    of_mn = [question for question in asked.questions if question.endswith("mn.internal")]
    assert len(of_mn) == 6
    assert asked.questions.index(of_mn[0]) > max(
        number for number, question in enumerate(asked.questions) if question.startswith("udp ")
    )


def test_services_that_are_not_let_across_are_not_waited_for() -> None:
    asked = Asked()
    settle(world_of(asked, services=False))
    assert {question for question in asked.questions if question.startswith("tcp ")} == {
        f"tcp {pod.address}" for pod in MN.pods
    }
    assert not any(question.startswith("udp ") for question in asked.questions)
    assert f"resolve {MN.service_host(cluster_ip_service('host'))}" in asked.questions, "a refusal needs an address"
