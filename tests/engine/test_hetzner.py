"""The machines of de raised by the real engine and the real Hetzner provider, with all that can go wrong on the way.

The whole program runs, but only the Hetzner resources are its targets: what comes after them needs machines that boot.
The engine then ends with one error, that of the Kubernetes provider whose kubeconfig was no target.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from domain.keys import ClusterKeys
from lab.standins.hetzner_api.backend import MemoryBackend
from tests.domain.samples import CLUSTER_SECRET, MN
from tests.engine.conftest import StartHetzner, at, is_empty, names
from tests.engine.project import SECRETS, Project, Result, Running, kill_one, steps
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = pytest.mark.engine

COMPONENTS: Final = "isthmus:joined_cluster:JoinedCluster$isthmus:hetzner:HetznerMachines"
TARGETS: Final = (
    "--target=**JoinedCluster::de",
    "--target=**providers:hcloud::hcloud",
    "--target=**StackInstance::instance",
    "--target=**HetznerMachines::machines",
    "--target=**hcloud:index/**",
)
UP: Final = ("up", "-s", "de", "--yes", "--skip-preview", *TARGETS)
NOT_A_TARGET: Final = "was not specified in --target list."
ENDED_WHILE_LOADED: Final = re.compile(r"resource-(kubernetes|command)-v[^ ]* exited prematurely")
"""The engine ends with the error above, maybe while it still loads the plugin of a provider that is no target. Then it
closes the plugin without asking it to go, and takes that for an exit of its own (host.go of 3.259: ``GetPluginInfo``
fails with the run's context, ``Close`` follows).
"""
SERVERS: Final = ["de-agent-1", "de-server-1"]
ALL_NAMES: Final = {
    "networks": ["isthmus-de"],
    "firewalls": ["isthmus-de"],
    "placement_groups": ["isthmus-de"],
    "ssh_keys": ["isthmus-de"],
    "servers": SERVERS,
}
KILL_ACTION_SECONDS: Final = 0.5
"""Long enough to be met in the middle, where a test does not hold it up."""


class Slow(MemoryBackend):
    """Machines that start once they are released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def start(self, name: str) -> None:
        """Starts it then."""
        self.released.wait()
        super().start(name)


@pytest.fixture
def raised(project: Project, hetzner: StandIn, de: dict[str, Any]) -> Project:
    """A project with right stack files and a backend that knows de."""
    prepare(project, de)
    return project


def prepare(project: Project, de: dict[str, Any]) -> None:
    project.write("de", de)
    project.write("mn", MN)
    project.init("de")


# --- all goes well ----------------------------------------------------------------------------------------------------


def test_up_keeps_its_secrets_changes_nothing_twice_and_destroy_leaves_nothing(
    raised: Project, hetzner: StandIn
) -> None:
    """One run of the life of a cluster's machines, because each step starts from the one before."""
    result = finish(raised, hetzner)
    shown = raised.run("preview", "-s", "de")

    assert shown.code == 0, shown.output
    hidden_in({"up": result.output, "preview": shown.output, **backend_files(raised)})

    again = raised.preview("de")
    assert changes(again) == []
    hidden_in({"preview --json": json.dumps(again)})

    # Code of a provider is no input of its resources: the engine must not take an edit for a change.
    edited = edit_components(raised, "hetzner_leftovers.py", "netbird_api.py")
    assert edited
    assert changes(raised.preview("de")) == []

    destroyed = raised.run("destroy", "-s", "de", "--yes", "--skip-preview").expect(0)
    assert is_empty(hetzner)
    assert raised.resources("de") == []
    hidden_in({"destroy": destroyed.output, **backend_files(raised)})


def changes(preview: dict[str, Any]) -> list[str]:
    """What the plan changes of the machines, or has besides the creation of what was no target."""
    return [
        f"{step.op} {step.type} {step.name}"
        for step in steps(preview)
        if step.op != "same" and (step.op != "create" or step.type.startswith("hcloud:") or step.name == "instance")
    ]


def edit_components(project: Project, *files: str) -> bool:
    """Puts a copy of the components in place of the link, in which a comment is added to these files."""
    link = project.directory / "components"
    source = link.resolve()
    link.unlink()
    link.mkdir()
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = link / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            copy.write_text(f"{text}\n\n_EDITED = True\n" if path.name in files else text, encoding="utf-8")
    return all("_EDITED" in (link / name).read_text(encoding="utf-8") for name in files)


# --- Hetzner fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(
            {"method": "POST", "path": "^/servers$", "nth": 2, "answer": 500},
            "ordered by a test (server_error",
            id="500 for the second server",
        ),
        pytest.param(
            {"method": "POST", "path": "^/networks/[0-9]+/actions/add_subnet$", "answer": 423},
            "ordered by a test (locked",
            id="423 for the subnet",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            {"method": "POST", "path": "^/servers/[0-9]+/actions/attach_to_network$", "answer": 500},
            "ordered by a test (server_error",
            id="500 between a server and its private network",
        ),
    ],
)
def test_an_error_of_the_api(raised: Project, hetzner: StandIn, fault: dict[str, Any], message: str) -> None:
    """The error is Hetzner's own, and the next `up` completes from what is there."""
    hetzner.order({**fault, "count": 1000})

    failed = raised.run(*UP).expect(1)

    failed.says(message)
    assert "Traceback" not in failed.output
    hidden_in({"up": failed.output, **backend_files(raised)})

    hetzner.order()
    finish(raised, hetzner)


def test_a_server_that_fails_while_it_is_made(raised: Project, hetzner: StandIn) -> None:
    """Nothing can complete such a server; the next `up` says so, and how to make it anew."""
    hetzner.order({"action": "create_server", "count": 1000})
    raised.run(*UP).expect(1).says("ordered by a test (action_failed")
    hetzner.order()

    incomplete = raised.run(*UP).expect(1)

    urns = [f"urn:pulumi:de::isthmus::{COMPONENTS}$hcloud:index/server:Server::{name}" for name in SERVERS]
    for urn in urns:
        incomplete.says(f"Hetzner can't complete this server, make it anew: `pulumi up --replace '{urn}'`")
    # The old entries stay in the state until an `up` without targets ends well, so only Hetzner's side is looked at.
    raised.run(*UP, *(f"--replace={urn}" for urn in urns))
    assert names(hetzner)["servers"] == SERVERS
    servers = hetzner.call("GET", "/servers").json()["servers"]
    assert all(server["status"] == "running" and server["private_net"] for server in servers)


def test_a_rate_limit_is_waited_for(raised: Project, hetzner: StandIn) -> None:
    """The provider tries again by itself: no error at all, and nothing twice."""
    hetzner.order(
        {"method": "POST", "path": "^/servers$", "answer": 429}, {"path": "^/actions", "count": 2, "answer": 429}
    )

    finish(raised, hetzner)


# --- the engine is killed ---------------------------------------------------------------------------------------------

Condition = Callable[[StandIn, Running], bool]


def has(kind: str, count: int = 1) -> Condition:
    return lambda hetzner, _: len(names(hetzner).get(kind, [])) == count


def has_subnet(hetzner: StandIn, _: Running) -> bool:
    return any(network["subnets"] for network in hetzner.call("GET", "/networks").json()["networks"])


def starts_both(hetzner: StandIn, _: Running) -> bool:
    servers = hetzner.call("GET", "/servers").json()["servers"]
    return len(servers) == 2 and all(server["status"] != "running" for server in servers)


def one_is_made(_: StandIn, up: Running) -> bool:
    return any("index:Server" in line and " created (" in line for line in up.said.splitlines())


def unheard(path: str) -> dict[str, Any]:
    """Hetzner does what it is asked for, and nobody hears of it."""
    return {"method": "POST", "path": path, "answer": "hang", "when": "after"}


MOMENTS: Final[dict[str, tuple[list[dict[str, Any]], Condition]]] = {
    "the network is made, its answer not heard": ([unheard("^/networks$")], has("networks")),
    "the subnet is made, its answer not heard": ([unheard("^/networks/[0-9]+/actions/add_subnet$")], has_subnet),
    "a server is made, its answer not heard": ([unheard("^/servers$")], has("servers", 2)),
    "both servers start": ([], starts_both),
    "one server is made, the other not asked for": (
        [{"method": "POST", "path": "^/servers$", "nth": 2, "answer": "hang"}],
        one_is_made,
    ),
}


ALWAYS: Final = ("the network is made, its answer not heard", "a server is made, its answer not heard")
"""Of each kind of resource one: the others of the moments run with ``thorough``."""


@pytest.mark.parametrize(
    ("faults", "moment"),
    [
        pytest.param(*what, id=name, marks=() if name in ALWAYS else pytest.mark.thorough)
        for name, what in MOMENTS.items()
    ],
)
def test_killed_with_its_plugins(
    project: Project, start_hetzner: StartHetzner, faults: list[dict[str, Any]], moment: Condition
) -> None:
    slow = Slow()
    hetzner = start_hetzner(action_seconds=KILL_ACTION_SECONDS, backend=slow)
    prepare(project, at(hetzner))
    hetzner.order(*faults)
    with released(slow):
        if moment is not starts_both:
            slow.released.set()
        up = project.start(*UP)
        up.wait_for(lambda: moment(hetzner, up), "the moment of the kill")
        up.kill()
    hetzner.order()

    release_lock(project)
    finish(project, hetzner)


def test_killed_alone(project: Project, start_hetzner: StartHetzner) -> None:
    """Plugins have process groups of their own and go on with what they were at, with nobody to tell of it."""
    slow = Slow()
    hetzner = start_hetzner(action_seconds=KILL_ACTION_SECONDS, backend=slow)
    prepare(project, at(hetzner))
    with released(slow):
        up = project.start(*UP)
        up.wait_for(lambda: starts_both(hetzner, up), "both servers start")
        plugins = up.kill_alone()
    assert plugins, "nothing has outlived the engine"
    with ended(plugins):
        locked = project.run(*UP).expect(1)
        locked.says("the stack is currently locked by 1 lock(s)")
        locked.says("`pulumi cancel`")

        release_lock(project)
        finish(project, hetzner)


@contextmanager
def released(slow: Slow) -> Iterator[None]:
    """Machines start in the end: one moment of two servers that start is not left to how quickly both are asked for."""
    try:
        yield
    finally:
        slow.released.set()


@contextmanager
def ended(processes: list[int]) -> Iterator[None]:
    """Ends what a killed engine has left, in the end."""
    try:
        yield
    finally:
        for pid in processes:
            kill_one(pid)


def release_lock(project: Project) -> None:
    """What the engine itself asks for after a kill."""
    project.run("cancel", "-s", "de", "--yes").expect(0)


# --- what has to be true in the end -----------------------------------------------------------------------------------


def finish(project: Project, hetzner: StandIn) -> Result:
    """An `up` that must complete; then everything is at Hetzner exactly once, and the state knows exactly that."""
    result = project.run(*UP)
    ends_at_the_targets(result)

    found = names(hetzner)
    assert len(found.pop("primary_ips")) == len(SERVERS)
    assert found == ALL_NAMES
    ids = {
        f"hcloud:index/{type_}": {str(item["id"]) for item in hetzner.call("GET", f"/{kind}").json()[kind]}
        for kind, type_ in (
            ("networks", "network:Network"),
            ("firewalls", "firewall:Firewall"),
            ("placement_groups", "placementGroup:PlacementGroup"),
            ("ssh_keys", "sshKey:SshKey"),
            ("servers", "server:Server"),
        )
    }
    resources = project.resources("de")
    assert {type_: {resource["id"] for resource in resources if resource["type"] == type_} for type_ in ids} == ids
    assert [resource["type"] for resource in resources if resource.get("delete")] == []

    network = hetzner.call("GET", "/networks").json()["networks"][0]
    assert [subnet["ip_range"] for subnet in network["subnets"]] == ["10.0.1.0/24"]
    servers = hetzner.call("GET", "/servers").json()["servers"]
    assert {server["name"]: (server["status"], [net["ip"] for net in server["private_net"]]) for server in servers} == {
        "de-agent-1": ("running", ["10.0.1.31"]),
        "de-server-1": ("running", ["10.0.1.11"]),
    }
    assert all(len(server["public_net"]["firewalls"]) == 1 for server in servers)
    return result


def ends_at_the_targets(result: Result) -> None:
    """The only error is that what is no target was left out."""
    errors = [line.strip() for line in result.output.splitlines() if line.strip().startswith("error:")]
    assert [line for line in errors if NOT_A_TARGET in line], result.output
    other = [line for line in errors if NOT_A_TARGET not in line]
    assert [line for line in other if not ENDED_WHILE_LOADED.search(line)] == [], result.output


def backend_files(project: Project) -> dict[str, str]:
    """Everything that the backend has on its disk: state, its backup, history."""
    return {
        str(path.relative_to(project.backend)): path.read_bytes().decode("utf-8", "replace")
        for path in Path(project.backend).rglob("*")
        if path.is_file()
    }


def hidden_in(texts: dict[str, str]) -> None:
    """No secret stands in any of these, as it is, as JSON writes it, or as base64."""
    keys = ClusterKeys.derive(CLUSTER_SECRET, "de")
    secrets = {
        **{name: value for name, value in SECRETS.items() if name.endswith(("clusterSecret", "Token", ":token"))},
        "k3s token": keys.k3s_token,
        "SSH private key": keys.ssh_private_key,
        **{f"host key of {server}": keys.host_key(server).private for server in SERVERS},
        # Of the user data, whatever is in it.
        "user data": "#cloud-config",
    }
    found = [
        f"{name} in {where}"
        for where, text in texts.items()
        for name, secret in secrets.items()
        if any(form in text for form in forms(secret))
    ]
    assert found == []


def forms(secret: str) -> Iterator[str]:
    """The secret, its distinctive lines, and its base64 at each of the three offsets it can have."""
    yield json.dumps(secret)[1:-1]
    for line in secret.splitlines():
        if len(line) > 30 and not line.startswith("-----"):
            yield line
    encoded = secret.encode()
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + encoded).decode()
        yield text[4 : len(text) - 4]
