"""The tutorial's second section word for word, from an empty folder to the previews, with the real Pulumi.

Hetzner is the stand-in, and the release of k3s lies on a mirror; what comes after is in tests/link/test_tutorial.py.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from domain.k3s_release import CHECKSUMS
from domain.starter_text import K3S_VERSION
from tests.domain.samples import HOST_KEYS, SSH_PRIVATE_KEY
from tests.domain.test_k3s_release import LISTED
from tests.engine.project import SECRETS, Engine
from tests.lab.hetzner_api.conftest import StandIn
from tests.tutorial import Shell, checkout, commands, fill_in, section
from toolchain import pulumi_home

pytestmark = pytest.mark.engine

AFTER = "pulumi up"
"""From here on there have to be machines."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A mirror of k3s that has the list of the release."""
    listed = tmp_path / "mirror" / K3S_VERSION / CHECKSUMS["amd64"]
    listed.parent.mkdir(parents=True)
    listed.write_text(LISTED)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "mirror"))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_word_for_word_to_the_previews(engine: Engine, hetzner: StandIn, mirror: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_ed25519").write_text(SSH_PRIVATE_KEY)
    dropped = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_BACKEND_URL")
    environment = {name: value for name, value in engine.environment.items() if name not in dropped}
    environment |= {"HOME": str(home), "PULUMI_HOME": str(pulumi_home(directory=tmp_path / "pulumi-home"))}
    shell = Shell(checkout(tmp_path / "isthmus"), environment, tmp_path / "exports")
    answers = {
        "pulumi config set --secret netbirdApiToken -s de": SECRETS["isthmus:netbirdApiToken"],
        "pulumi config set --secret netbirdApiToken -s mn": SECRETS["isthmus:netbirdApiToken"],
        "pulumi config set --secret hcloud:token -s de": hetzner.token,
    }

    said: dict[str, str] = {}
    typed = commands(section(2))
    for command in typed[: typed.index(f"{AFTER} -s de")]:
        if command.startswith("curl "):
            continue  # Pulumi is there, in the version that the page names (tests/domain/test_tutorial.py)
        if "k3s-checksum" in command:
            printed = shell.type(f"{command} --mirror {mirror}").well().output
            said[command] = printed
            marked = set(_fill_in(shell.directory, yaml.safe_load(printed), hetzner.endpoint))
            assert marked >= {"api_allowed_cidrs", "ssh_allowed_cidrs", "node_cidr", "address", "host_key", "sha256"}
            continue
        said[command] = shell.type(command, answers.get(command, "")).well().output

    assert said.keys() | {typed[0]} == set(typed[: typed.index(f"{AFTER} -s de")])
    assert "2 clusters, 4 nodes, 1 link of up to 1230 bytes; no problem found." in said["./isthmus plan"]
    assert "mn: link pending" in said["pulumi preview -s de"]
    assert "+ " in said["pulumi preview -s de"]
    everything = "\n".join([*said.values(), *(path.read_text() for path in shell.directory.glob("Pulumi.*.yaml"))])
    for secret in (*answers.values(), *SSH_PRIVATE_KEY.splitlines()[1:-1]):
        assert secret not in everything
    assert (home / "isthmus-passphrase").stat().st_mode & 0o077 == 0


def _fill_in(directory: Path, k3s: dict[str, str], endpoint: str) -> Iterator[str]:
    own = ["203.0.113.7/32"]
    yield from fill_in(
        directory,
        "de",
        {
            "isthmus:hetzner": {"api_allowed_cidrs": own, "ssh_allowed_cidrs": own},
            "isthmus:k3s": k3s,
            "hcloud:endpoint": endpoint,
        },
    )
    machines = [{"address": f"192.168.7.{11 + number}", "host_key": HOST_KEYS[number]} for number in (0, 1)]
    yield from fill_in(
        directory,
        "mn",
        {"isthmus:network": {"node_cidr": "192.168.7.0/24"}, "isthmus:on_premise": {"machines": machines},
         "isthmus:k3s": k3s},
    )  # fmt: skip
