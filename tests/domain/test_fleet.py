from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.fleet import check_files, check_fleet, parse_fleet
from domain.overlay import NETBIRD_RANGE
from domain.plan import address_plan
from domain.range_rules import ranges_of
from tests.domain.samples import DE, MN, changed, problems_of, said, text

SEVEN_MISTAKES = """\
config:
  isthmus:network:
    pod_cidr: 10.42.0.0/16
    service_cidr: 10.53.0.1/16
    node_cidr: 192.168.7.0/24
    dns_zone: Internal
  isthmus:peers: [de, de]
  isthmus:on_premise:
    machines:
      - {name: mn-1, address: 192.168.8.11, role: server, host_key: ssh-ed25519 AAAA...}
      - {name: mn-2, address: 192.168.7.12, role: agent, router: true}
    ssh: {}
  isthmus:k3s: {version: v1.34.9+k3s1, sha256: 5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f}
  isthmus:clusterSecret: {secure: v1:abc}
  isthmus:netbirdApiToken: {secure: v1:abc}
  isthmus:sshPrivateKey: {secure: v1:abc}
"""


def test_seven_mistakes_in_the_order_of_the_file_with_lines() -> None:
    problems = check_files({"de": text(DE), "mn": SEVEN_MISTAKES})
    assert [(problem.line, problem.setting) for problem in problems] == [
        (3, "network.pod_cidr"),
        (4, "network.service_cidr"),
        (6, "network.dns_zone"),
        (7, "peers.1"),
        (10, "on_premise.machines.0.address"),
        (10, "on_premise.machines.0.host_key"),
        (11, "on_premise.machines.1.host_key"),
    ]
    assert str(problems[0]) == (
        "mn: network.pod_cidr 10.42.0.0/16 overlaps de: network.pod_cidr 10.42.0.0/16; "
        "linked clusters need distinct pod CIDRs; 10.44.0.0/16 is free for the one of the two that does not run yet. "
        "[Pulumi.mn.yaml:3]"
    )


def test_errors_of_all_stacks_at_once() -> None:
    problems = problems_of(de=changed(DE, {"hetzner.routers": 0}), mn=changed(MN, {"cilium": {"mtu": 9000}}))
    assert [problem.stack for problem in problems] == ["de", "mn"]


def test_one_stack_alone() -> None:
    assert check_files({"de": text(changed(DE, {"peers": []}))}) == []


def test_unreadable_peer_is_there_all_the_same() -> None:
    problems = check_files({"de": text(DE), "mn": "["})
    assert [problem.setting for problem in problems] == ["Pulumi.mn.yaml"]


def test_stack_name() -> None:
    assert said(check_files({"De_1": text(changed(DE, {"peers": []}))})) == [
        (
            "De_1: stack De_1 is not a stack name of lower-case letters, digits and hyphens, a letter first, "
            "with at most 30 characters; write it like de."
        )
    ]


def test_proposals_do_not_collide_with_each_other() -> None:
    same = changed(MN, {"network.pod_cidr": "10.42.0.0/16", "network.service_cidr": "10.42.0.0/16"})
    yet = "for the one of the two that does not run yet"
    assert [problem.fix for problem in problems_of(mn=same)] == [
        f"10.44.0.0/16 is free {yet}",
        f"10.45.0.0/16 is free {yet}",
    ]


def test_the_proposal_is_right_whichever_of_the_two_runs() -> None:
    """The order of names says nothing about it."""
    files = {name: changed(DE if name == "de" else MN, {}) for name in ("de", "mn")}
    files["mn"] = changed(files["mn"], {"network.pod_cidr": "10.42.0.0/18"})
    (problem,) = check_files({name: text(config) for name, config in files.items()})
    assert problem.fix == "10.44.0.0/18 is free for mn and 10.45.0.0/16 is free for de; change what does not run yet"
    for name, free in (("mn", "10.44.0.0/18"), ("de", "10.45.0.0/16")):
        moved = {**files, name: changed(files[name], {"network.pod_cidr": free})}
        assert check_files({stack: text(config) for stack, config in moved.items()}) == []


def test_what_runs_stays_where_it_is() -> None:
    fleet = parse_fleet({"de": text(DE), "mn": text(changed(MN, {"network.pod_cidr": "10.42.0.0/18"}))})
    rule = "of a cluster that runs; linked clusters need distinct pod CIDRs"
    for running, says in (
        (
            "de",
            f"mn: network.pod_cidr 10.42.0.0/18 overlaps de: network.pod_cidr 10.42.0.0/16, {rule}; 10.44.0.0/18 is",
        ),
        (
            "mn",
            f"de: network.pod_cidr 10.42.0.0/16 overlaps mn: network.pod_cidr 10.42.0.0/18, {rule}; 10.44.0.0/16 is",
        ),
    ):
        assert said(check_fleet(fleet, {running})) == [f"{says} free."]
    (both,) = check_fleet(fleet, {"de", "mn"})
    assert both.fix == "neither of the two can move, so take de out of peers of mn"


def test_no_range_left() -> None:
    large = {"network.pod_cidr": "10.0.0.0/10", "network.service_cidr": "10.128.0.0/12",
             "hetzner.network_cidr": "10.64.0.0/10", "network.node_cidr": "10.64.1.0/24"}  # fmt: skip
    mine = {"network.pod_cidr": "10.0.0.0/10", "network.service_cidr": "10.192.0.0/12"}
    assert said(problems_of(de=changed(DE, large), mn=changed(MN, mine))) == [
        (
            "mn: network.pod_cidr 10.0.0.0/10 overlaps de: network.pod_cidr 10.0.0.0/10; "
            "linked clusters need distinct pod CIDRs; "
            "no /10 is left, but 10.160.0.0/11 is free for the one of the two that does not run yet."
        )
    ]


# --- properties -------------------------------------------------------------------------------------------------------

RANGES = st.tuples(st.integers(0, 255), st.sampled_from([16, 17, 20, 22])).map(
    lambda drawn: f"10.{drawn[0]}.0.0/{drawn[1]}"
)


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, str]:
    """Up to six clusters on-premise with random ranges, many of which collide."""
    names = [f"site-{number}" for number in range(draw(st.integers(1, 6)))]
    files = {}
    for number, name in enumerate(names):
        changes = {
            "network.pod_cidr": draw(RANGES),
            "network.service_cidr": draw(RANGES),
            "network.node_cidr": f"192.168.{number}.0/24",
            "network.dns_zone": f"{name}.internal",
            "on_premise.machines.0.address": f"192.168.{number}.11",
            "on_premise.machines.1.address": f"192.168.{number}.12",
            "peers": [other for other in names if other != name],
        }
        files[name] = text(changed(MN, changes))
    return files


@settings(max_examples=60)
@given(fleets())
def test_no_overlap_is_missed_and_no_proposal_is_taken(files: dict[str, str]) -> None:
    fleet = parse_fleet(files)
    ranges = [network for draft in fleet.drafts.values() for _, network in ranges_of(draft)]
    problems = check_fleet(fleet)
    assert all("overlaps" in problem.rule for problem in problems)
    overlap = any(range_.overlaps(other) for n, range_ in enumerate(ranges) for other in ranges[:n])
    assert bool(problems) == overlap
    for problem in problems:
        proposed = type(ranges[0])(problem.fix.split()[0])
        assert problem.fix.startswith(f"{proposed} is free")
        assert not any(proposed.overlaps(other) for other in [*ranges, NETBIRD_RANGE])


@settings(max_examples=30)
@given(fleets())
def test_taking_all_proposals_leaves_no_problem(files: dict[str, str]) -> None:
    problems = check_fleet(parse_fleet(files))
    for problem in problems:
        name = problem.setting.split(".")[1]
        lines = files[problem.stack].splitlines()
        assert problem.line is not None
        lines[problem.line - 1] = f"    {name}: {problem.fix.split()[0]}"
        files[problem.stack] = "\n".join(lines)
    assert [str(problem) for problem in check_files(files)] == []


@settings(max_examples=30)
@given(fleets(), st.integers(0, 20))
def test_another_cluster_moves_nothing(files: dict[str, str], at: int) -> None:
    def plans(of: dict[str, str]) -> dict[str, object]:
        return {name: address_plan(stack) for name, stack in parse_fleet(of).stacks.items()}

    newcomer = f"{'a' if at % 2 else 'z'}{at}"
    before = plans(files)
    after = plans({**files, newcomer: text(changed(DE, {"peers": []}))})
    assert {name: after[name] for name in before} == before


def test_a_stack_is_not_called_as_the_routers_of_another() -> None:
    files = {"de": text(changed(DE, {"peers": []})), "de-router": text(changed(MN, {"peers": []}))}
    assert [str(problem) for problem in check_files(files)] == [
        (
            "de-router: stack de-router begins as NetBird's names of the routers of de do; "
            "theirs could not be told apart; take a name that does not begin with de-router. [Pulumi.de-router.yaml:1]"
        )
    ]
    files["de-router-2"] = files.pop("de-router")
    assert [problem.stack for problem in check_files(files)] == ["de-router-2"]
    files["de-routers"] = files.pop("de-router-2")
    assert check_files(files) == []


def test_no_two_links_have_policies_of_one_name() -> None:
    files = {
        "a": text(changed(DE, {"peers": ["b-to-c"]})),
        "b-to-c": text(changed(MN, {"peers": ["a"]})),
        "a-to-b": text(changed(DE, {"peers": ["c"], "network.dns_zone": "a-to-b.internal"})),
        "c": text(changed(MN, {"peers": ["a-to-b"], "network.dns_zone": "c.internal"})),
    }
    told = [str(problem) for problem in check_files(files) if "-to-" in problem.rule]
    assert told == [
        (
            "a-to-b: peers.0 c would give the policies of the link the names of those from a to b-to-c, "
            "isthmus-a-to-b-to-c-...; take a stack name without -to-. [Pulumi.a-to-b.yaml:8]"
        )
    ]
