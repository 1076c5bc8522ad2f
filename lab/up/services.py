"""The helpers beside the clusters: artifact mirror and Hetzner API stand-in, each a process of this checkout."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from lab import private_files, processes, project, state, topology
from lab.errors import LabError
from lab.inside import Answer, http_request
from lab.project import REPOSITORY

HETZNER: Final = "hetzner-api"
MIRROR: Final = "mirror"
SERVICE_DEADLINE_SECONDS: Final = 300.0
"""For a helper to answer after its start, a second on an idle machine: a guard against one that hangs."""
ANSWER_SECONDS: Final = 60.0
"""For one request to a helper."""


def start_mirror() -> None:
    """Starts the artifact mirror if it does not run."""
    _service(
        MIRROR,
        "lab.mirror",
        ["--listen", f"{topology.MIRROR_ADDRESS}:80", "--root", str(state.STATE / "mirror")],
        host=str(topology.MIRROR_ADDRESS),
        path="/v2/",
    )


def power_on_servers() -> None:
    """Switches servers at the Hetzner stand-in on that are off, as a person would in the console: no `up` does that."""
    for server in json.loads(ask_hetzner("GET", "/v1/servers?status=off").body).get("servers") or []:
        answer = ask_hetzner("POST", f"/v1/servers/{server['id']}/actions/poweron")
        # Locked: something is at work on it, such as what was switching it off.
        if answer.status >= 400 and answer.status != 423:
            text = answer.body.decode(errors="replace")[:300]
            raise LabError(f"the server {server['name']} can't be switched on ({answer.status}): {text}")


def ask_hetzner(method: str, path: str) -> Answer:
    """One request to the Hetzner API stand-in, as the person whose token it is."""
    token = hetzner_token_file().read_text(encoding="utf-8").strip()
    try:
        return http_request(
            topology.SERVICES_NAMESPACE,
            method,
            str(topology.HETZNER_ADDRESS),
            80,
            path,
            headers={"Authorization": f"Bearer {token}"},
        )
    except OSError as error:
        raise LabError(f"the Hetzner API stand-in: {method} {path}: {error}") from error


def start_hetzner() -> None:
    """Starts the Hetzner API stand-in if it does not run."""
    home = hetzner_directory()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not hetzner_token_file().is_file():
        private_files.write_secret(hetzner_token_file(), project.new_hetzner_token())
    arguments = ["--listen", f"{topology.HETZNER_ADDRESS}:80", "--state", str(home / "state")]
    arguments += ["--token-file", str(hetzner_token_file()), "--faults", str(hetzner_faults_file())]
    _service(HETZNER, "lab.standins.hetzner_api", arguments, host=str(topology.HETZNER_ADDRESS), path="/v1/locations")


def hetzner_directory() -> Path:
    """Where the Hetzner API stand-in keeps its resources."""
    return state.STATE / "hetzner"


def hetzner_token_file() -> Path:
    """The API token, readable by root only."""
    return hetzner_directory() / "token"


def hetzner_faults_file() -> Path:
    """Faults that a test orders; see lab/standins/hetzner_api/faults.py."""
    return hetzner_directory() / "faults.json"


def _service(name: str, module: str, arguments: list[str], *, host: str, path: str) -> None:
    """A Python server of this checkout in the services' namespace; returns when it answers anything at all."""
    processes.spawn(
        name,
        [sys.executable, "-m", module, *arguments],
        netns=topology.SERVICES_NAMESPACE,
        environment={
            **{name: os.environ[name] for name in ("PATH", "ISTHMUS_CACHE", "XDG_CACHE_HOME") if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "HOME": "/root",
        },
        directory=REPOSITORY,
    )

    def answers() -> bool:
        try:
            asked = http_request(topology.SERVICES_NAMESPACE, "GET", host, 80, path, deadline_seconds=ANSWER_SECONDS)
        except OSError:
            return False
        return asked.status > 0

    processes.wait_for_answer(
        name, answers, what=f"{name} answers", deadline_seconds=SERVICE_DEADLINE_SECONDS, every_seconds=0.1
    )
