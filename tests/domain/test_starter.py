"""A new stack file collides with nothing, moves nothing, and is right once its blanks are filled in."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.fleet import check_files, check_fleet, parse_fleet
from domain.overlay import NETBIRD_RANGE
from domain.range_rules import ranges_of
from domain.stack_file import Unreadable
from domain.starter import PEERS_BY_DEFAULT, Starter, starter
from domain.yaml_words import word
from tests.domain.samples import DE, HOST_KEYS, MN, SECRET, SHA256, changed, data_of, said, text

FLEET = {"de": text(DE), "mn": text(MN)}


def made(name: str, place: str, files: dict[str, str], **options: object) -> Starter:
    found = starter(name, place, parse_fleet(files), **options)  # type: ignore[arg-type]
    assert isinstance(found, Starter), [str(problem) for problem in found]
    return found


def filled_in(new: Starter) -> str:
    """What its user would write into the blanks, and the secrets."""
    config = data_of(new.text)["config"]
    if "<" in config["isthmus:k3s"]["sha256"]:
        config["isthmus:k3s"]["sha256"] = SHA256
    if "isthmus:hetzner" in config:
        hetzner = config["isthmus:hetzner"]
        hetzner |= {"api_allowed_cidrs": ["203.0.113.0/24"], "ssh_allowed_cidrs": ["203.0.113.0/24"]}
        if "<" in hetzner["network_zone"]:
            hetzner |= {"network_zone": "moon-north", "unlisted": [hetzner["location"]]}
        for pool in ("control_plane", "workers"):
            if "<" in hetzner[pool]["server_type"]:
                hetzner[pool]["server_type"] = "ccx13"
    else:
        lan = new.ranges.get("network.node_cidr", IPv4Network("192.168.99.0/24"))
        config["isthmus:network"]["node_cidr"] = str(lan)
        for machine, key, address in zip(
            config["isthmus:on_premise"]["machines"], HOST_KEYS, lan.hosts(), strict=False
        ):
            machine |= {"address": str(address), "host_key": key}
    return text({**config, **{secret.key: SECRET for secret in new.secrets}})


def listed(files: dict[str, str], new: Starter) -> dict[str, str]:
    """The other files with the lines that the starter asks for."""
    result = dict(files)
    for line in new.peer_lines:
        config = data_of(result[line.stack])["config"]
        result[line.stack] = text(config | data_of(line.text))
    return result


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("hetzner", {}),
        ("hetzner", {"location": "ash"}),
        ("on_premise", {}),
        ("on_premise", {"node_cidr": IPv4Network("192.168.9.0/24")}),
        ("on_premise", {"peers": ["de"]}),
    ],
)
def test_right_once_it_is_filled_in(place: str, options: dict[str, object]) -> None:
    new = made("us", place, FLEET, **options)
    assert said(check_files({**listed(FLEET, new), "us": filled_in(new)})) == []


@pytest.mark.parametrize("place", ["hetzner", "on_premise"])
def test_the_plan_lists_exactly_what_is_left(place: str) -> None:
    new = made("us", place, {}, node_cidr=None)
    problems = check_files({"us": new.text})
    left = {blank.setting for blank in new.blanks} | {secret.key.removeprefix("isthmus:") for secret in new.secrets}
    assert {problem.setting for problem in problems} == left
    lines = {problem.setting: problem.line for problem in problems}
    for blank in new.blanks:
        assert blank.line == lines[blank.setting]
        assert blank.meaning in new.text.splitlines()[blank.line - 1]


@pytest.mark.parametrize(
    ("node_cidr", "expected"),
    [
        (None, ["192.168.7.11", "192.168.7.12"]),
        (IPv4Network("192.168.9.0/24"), ["192.168.9.11", "192.168.9.12"]),
        (IPv4Network("192.168.9.8/29"), ["192.168.9.13", "192.168.9.14"]),
    ],
)
def test_every_machine_has_an_example_of_its_own(node_cidr: IPv4Network | None, expected: list[str]) -> None:
    new = made("us", "on_premise", {}, node_cidr=node_cidr)
    meanings = [blank.meaning for blank in new.blanks if blank.setting.endswith(".address")]
    assert meanings == [f"its address, like {address}" for address in expected]


def test_a_blank_is_named_by_its_own_setting() -> None:
    new = made("us", "hetzner", {}, location="ash")
    config = data_of(new.text)["config"]
    assert "hetzner.workers.server_type" in {blank.setting for blank in new.blanks}
    for blank in new.blanks:
        section, *rest = blank.setting.split(".")
        value = config[f"isthmus:{section}"]
        for part in rest:
            value = value[int(part) if part.isdigit() else part]
        assert value == f"<{blank.meaning}>"


@pytest.mark.parametrize("name", ["no", "on", "y", "true", "null"])
def test_a_stack_whose_name_yaml_would_misread(name: str) -> None:
    new = made(name, "hetzner", FLEET)
    assert said(check_files({**listed(FLEET, new), name: filled_in(new)})) == []
    other = made("us", "hetzner", {name: filled_in(new)}, peers=["de", name])
    assert data_of(other.text)["config"]["isthmus:peers"] == ["de", name]
    assert [data_of(line.text) for line in other.peer_lines] == [{"isthmus:peers": ["de", "mn", "us"]}]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("fsn1", "fsn1"),
        ("1e3", '"1e3"'),
        ("022", '"022"'),
        ("0x1f", '"0x1f"'),
        ("1_000", '"1_000"'),
        ("2026-11-29", '"2026-11-29"'),
        ("Yes", '"Yes"'),
        ("~", '"~"'),
        ("", '""'),
    ],
)
def test_words_are_texts(value: str, written: str) -> None:
    assert word(value) == written
    assert yaml.safe_load(word(value)) == value


def test_of_a_large_fleet_nobody_is_a_peer_unless_one_says_so() -> None:
    files = {
        f"s{n}": text(changed(DE, {"network.pod_cidr": f"10.{n}.0.0/17", "network.service_cidr": f"10.{n}.128.0/17"}))
        for n in range(100, 100 + PEERS_BY_DEFAULT + 1)
    }
    few = dict(list(files.items())[:PEERS_BY_DEFAULT])
    new = made("us", "hetzner", few)
    assert (f"isthmus:peers: [{', '.join(few)}]" in new.text, new.unlinked) == (True, False)
    new = made("us", "hetzner", files)
    assert ("isthmus:peers: []" in new.text, new.unlinked, new.peer_lines) == (True, True, ())
    new = made("us", "hetzner", files, peers=list(files))
    assert (f"isthmus:peers: [{', '.join(files)}]" in new.text, new.unlinked) == (True, False)
    assert not made("us", "hetzner", {}).unlinked


def test_what_linked_clusters_have_in_common_is_taken_over() -> None:
    common = {
        "netbird.management_url": "https://netbird.example.net",
        "netbird.mtu": 1400,
        "cilium.mtu": 1440,
        "k3s.version": "v1.35.1+k3s1",
        "k3s.sha256": "1e3" + SHA256[3:],
        "peers": [],
    }
    files = {"de": text(changed(DE, common))}
    new = made("us", "hetzner", files)
    config = data_of(new.text)["config"]
    assert config["isthmus:netbird"] == {"management_url": "https://netbird.example.net", "mtu": 1400}
    assert config["isthmus:cilium"] == {"mtu": 1440}
    assert config["isthmus:k3s"] == {"version": "v1.35.1+k3s1", "sha256": "1e3" + SHA256[3:]}
    assert said(check_files({**listed(files, new), "us": filled_in(new)})) == []
    alone = data_of(made("us", "hetzner", files, peers=[]).text)["config"]
    assert {"isthmus:netbird", "isthmus:cilium"} & alone.keys() == set()


def test_what_the_plan_would_refuse_is_refused() -> None:
    files = {
        "de": text(changed(DE, {"netbird.management_url": "https://a.example.net", "peers": []})),
        "mn": text(changed(MN, {"netbird.management_url": "https://b.example.net", "peers": []})),
    }
    found = starter("us", "hetzner", parse_fleet(files))
    assert isinstance(found, list)
    assert "\n".join(map(str, found)) == (
        "us: netbird.management_url https://a.example.net is not https://b.example.net, the NetBird server of mn; "
        "routers of two servers never learn of each other; write https://b.example.net here, or "
        "https://a.example.net in mn."
    )
    made("us", "hetzner", files, peers=["mn"])


def test_ranges() -> None:
    new = made("us", "hetzner", FLEET)
    assert {setting: str(network) for setting, network in new.ranges.items()} == {
        "network.pod_cidr": "10.44.0.0/16",
        "network.service_cidr": "10.45.0.0/16",
        "hetzner.network_cidr": "10.1.0.0/16",
        "network.node_cidr": "10.1.1.0/24",
    }
    assert [str(line) for line in new.peer_lines] == [
        "Pulumi.de.yaml, line 7: isthmus:peers: [mn, us]",
        "Pulumi.mn.yaml, line 7: isthmus:peers: [de, us]",
    ]


def test_a_peer_that_lists_it_already_needs_no_line() -> None:
    files = {"de": text(changed(DE, {"peers": ["us"]}))}
    new = made("us", "hetzner", files)
    assert new.peer_lines == ()


def test_peers_that_come_later() -> None:
    new = made("us", "hetzner", {}, peers=["de", "mn", "de"])
    assert "isthmus:peers: [de, mn]\n" in new.text
    assert new.peer_lines == ()
    assert new.missing_peers == ("de", "mn")


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        (["de.internal"], "us.internal"),
        (["us.internal"], "us.isthmus.internal"),
        (["internal.net", "web.us.internal"], "us.isthmus.internal"),
    ],
)
def test_zone(zones: list[str], expected: str) -> None:
    files = {
        f"s{n}": text(changed(DE, {"network.dns_zone": zone, "network.pod_cidr": f"10.{100 + n}.0.0/16",
                                   "network.service_cidr": f"10.{150 + n}.0.0/16"}))
        for n, zone in enumerate(zones)
    }  # fmt: skip
    assert f"dns_zone: {expected} #" in made("us", "hetzner", files).text


NO_NAME = (
    "is not a stack name of lower-case letters, digits and hyphens, a letter first, with at most 30 characters; "
    "write it like de."
)

NO_WORD = "is not a name of lower-case letters, digits, dots and hyphens; take it from Hetzner's list."
UNKNOWN_LOCATION = (
    "us: hetzner.location fsn2 is not among Hetzner's locations as of September 2026 (fsn1, nbg1, hel1, ash, hil, "
    "sin); take fsn1, if that is meant; if Hetzner has it by now, name it in hetzner.unlisted."
)
OVERLAP = (
    "us: network.node_cidr 10.52.8.0/21 overlaps mn: network.pod_cidr 10.52.0.0/16, of a cluster that runs; all ranges "
    "of linked clusters have to be distinct; neither of the two can move, so take mn out of peers of us."
)
IN_NETBIRDS_RANGE = (
    "us: network.node_cidr 100.64.0.0/24 overlaps NetBird's range 100.64.0.0/10; its peers have their addresses there, "
    "and a link that covers them sends replies round in a circle; 172.16.0.0/24 is free."
)
TOO_SMALL = (
    "us: network.node_cidr 8.8.8.0/31 is a /31; from /8 to /29 is possible: the machines of a site have to fit into "
    "it; take a /29."
)
LOOPBACK = (
    "us: network.node_cidr 127.0.0.0/24 touches 127.0.0.0/8, the loopback range; "
    "take a private range such as 10.42.0.0/16."
)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("de", {}, ["de: Pulumi.de.yaml is there already, and is not overwritten; take another name."]),
        ("US", {}, [f"US: stack US {NO_NAME}"]),
        (
            "us",
            {"peers": ["de\nx: y", "us"]},
            [f"us: peers.0 'de\\nx: y' {NO_NAME}", "us: peers us is this stack itself; remove it."],
        ),
        ("us", {"location": "fsn1 # x"}, [f"us: hetzner.location fsn1 # x {NO_WORD}"]),
        ("us", {"location": "fsn2"}, [UNKNOWN_LOCATION]),
        ("us", {"place": "on_premise", "node_cidr": IPv4Network("10.52.8.0/21")}, [OVERLAP]),
        ("us", {"place": "on_premise", "node_cidr": IPv4Network("100.64.0.0/24")}, [IN_NETBIRDS_RANGE]),
        ("us", {"place": "on_premise", "node_cidr": IPv4Network("8.8.8.0/31")}, [TOO_SMALL]),
        ("us", {"place": "on_premise", "node_cidr": IPv4Network("127.0.0.0/24")}, [LOOPBACK]),
    ],
)
def test_refused(name: str, options: dict[str, object], expected: list[str]) -> None:
    place = options.pop("place", "hetzner")
    found = starter(name, place, parse_fleet(FLEET), **options)  # type: ignore[arg-type]
    assert isinstance(found, list)
    assert [str(problem) for problem in found] == expected


def test_no_ranges_are_chosen_beside_a_file_that_cannot_be_read() -> None:
    for content in ("[", Unreadable("is a directory", "remove it")):
        found = starter("us", "hetzner", parse_fleet({"de": content}))
        assert isinstance(found, list)
        assert [problem.setting for problem in found] == ["Pulumi.de.yaml"]


def test_nothing_is_free() -> None:
    large = {
        f"s{n}": text(changed(MN, {"network.pod_cidr": f"{cidr}", "network.service_cidr": "10.0.0.0/22"}))
        for n, cidr in enumerate(["10.0.0.0/10", "10.64.0.0/10", "10.128.0.0/10", "10.192.0.0/10", "172.16.0.0/12",
                                  "192.168.0.0/16"])
    }  # fmt: skip
    found = starter("us", "hetzner", parse_fleet(large))
    assert isinstance(found, list)
    assert [str(problem) for problem in found] == [
        "us: network.pod_cidr has no free range left in the private ranges; make others smaller."
    ]


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["hetzner", "on_premise"]), min_size=1, max_size=8), st.integers(0, 200))
def test_a_fleet_of_starters_has_no_conflict_and_nothing_moves(places: list[str], at: int) -> None:
    files = {"zz": text(changed(DE, {"network.pod_cidr": f"10.{at}.0.0/17", "network.service_cidr": f"10.{at}.128.0/17",
                                     "hetzner.network_cidr": "10.250.0.0/16", "network.node_cidr": "10.250.1.0/24",
                                     "peers": []}))}  # fmt: skip
    fleet = parse_fleet(files)
    for number, place in enumerate(places):
        before = {name: ranges_of(draft) for name, draft in fleet.drafts.items()}
        lan = IPv4Network(f"192.168.{number}.0/24") if place == "on_premise" else None
        new = made(f"s{number}", place, files, node_cidr=lan)
        files = {**listed(files, new), f"s{number}": filled_in(new)}
        fleet = parse_fleet(files)
        assert said(check_fleet(fleet)) == []
        assert {name: ranges_of(fleet.drafts[name]) for name in before} == before
    ranges = [network for draft in fleet.drafts.values() for _, network in ranges_of(draft)] + [NETBIRD_RANGE]
    assert not any(range_.overlaps(other) for n, range_ in enumerate(ranges) for other in ranges[:n])
