"""The lab's NetBird server: the real one (management, signal, relay, STUN in one program), with an account set up.

It owns the server's files below ``<state>/netbird`` and the API token made at its first start. NetBird's default
policy, which lets every peer reach every other, is removed: the program's own policies must suffice.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

import yaml

from lab import private_files as files
from lab import processes, state, topology
from lab.errors import LabError
from lab.inside import http_request
from lab.netbird_api import NetBirdApi

NAME = "netbird-server"
DEADLINE_SECONDS = 300.0
"""Until it answers after its start, 2 s on an idle machine: a guard."""
ANSWER_SECONDS = 60.0
"""For one request while it starts."""
TOKEN_DAYS = 365
SET_UPS = 3
"""How often a new server is set up at most: each try starts over with an empty database."""


def directory() -> Path:
    """Where configuration, database and token lie."""
    return state.STATE / "netbird"


def token_file() -> Path:
    """The API token, readable by root only."""
    return directory() / "api-token"


def configuration(*, relay_secret: str, data: Path) -> dict[str, object]:
    """The server's configuration file as data: plain HTTP, everything local, nothing that looks for the Internet."""
    return {
        "server": {
            "listenAddress": f"{topology.NETBIRD_ADDRESS}:{topology.NETBIRD_PORT}",
            "exposedAddress": topology.NETBIRD_URL,
            "stunPorts": [topology.STUN_PORT],
            "healthcheckAddress": "127.0.0.1:9000",
            "metricsPort": 9090,
            "logLevel": "info",
            "authSecret": relay_secret,
            "dataDir": str(data),
            "disableAnonymousMetrics": True,
            "disableGeoliteUpdate": True,
            "auth": {"issuer": f"{topology.NETBIRD_URL}/oauth2"},
            "store": {"engine": "sqlite"},
        }
    }


def start(program: Path) -> NetBirdApi:
    """Starts the server if it does not run, sets the account up once, and returns the API."""
    home = directory()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    for attempt in range(1, SET_UPS + 1):
        if token_file().is_file():
            break
        # The account can be set up once only, so a server without a token of ours starts over with an empty database.
        processes.stop(NAME)
        shutil.rmtree(home / "data", ignore_errors=True)
        _start(program, home)
        try:
            files.write_secret(token_file(), _set_up())
        except OSError as error:
            # No answer: whether there is an account now, nobody knows.
            if attempt == SET_UPS:
                raise LabError(
                    f"The lab's NetBird server did not answer while its account was set up: {error}"
                ) from None
    _start(program, home)
    made = api()
    remove_default_policies(made)
    return made


def api() -> NetBirdApi:
    """The API with the lab's token; :class:`~lab.errors.LabError` when the server was never started."""
    try:
        token = token_file().read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise LabError("The lab's NetBird server was never started; run `./isthmus lab up`.") from None
    return NetBirdApi(token, namespace=topology.SERVICES_NAMESPACE)


def remove_default_policies(client: NetBirdApi) -> None:
    """Removes the policy "Default" (all peers to all peers) that NetBird makes with an account."""
    for policy in client.list("policies"):
        if policy["name"] == "Default":
            client.delete("policies", str(policy["id"]))


def _start(program: Path, home: Path) -> None:
    data = home / "data"
    data.mkdir(exist_ok=True, mode=0o700)
    config = home / "config.yaml"
    if not config.is_file():
        text = yaml.safe_dump(configuration(relay_secret=secrets.token_hex(16), data=data), sort_keys=True)
        files.write_secret(config, text)
    processes.spawn(
        NAME,
        [str(program), "--config", str(config)],
        netns=topology.SERVICES_NAMESPACE,
        environment={
            "PATH": os.defpath,
            "HOME": str(home),
            "NB_SETUP_PAT_ENABLED": "true",
            "NB_DISABLE_GEOLOCATION": "true",
        },
        directory=home,
    )
    processes.wait_for_answer(
        NAME, _answers, what="The lab's NetBird server answers", deadline_seconds=DEADLINE_SECONDS
    )


def _answers() -> bool:
    try:
        answer = http_request(
            topology.SERVICES_NAMESPACE,
            "GET",
            str(topology.NETBIRD_ADDRESS),
            topology.NETBIRD_PORT,
            "/api/instance",
            deadline_seconds=ANSWER_SECONDS,
        )
    except OSError:
        return False
    return answer.status == 200


def _set_up() -> str:
    """Makes the account with its owner; returns the API token. The owner's password is not kept: nobody needs it."""
    answer = http_request(
        topology.SERVICES_NAMESPACE,
        "POST",
        str(topology.NETBIRD_ADDRESS),
        topology.NETBIRD_PORT,
        "/api/setup",
        body={
            "email": "lab@isthmus.lab",
            "name": "Isthmus lab",
            # NetBird asks for at least one of each kind of character.
            "password": f"Aa1!{secrets.token_urlsafe(24)}",
            "create_pat": True,
            "pat_expire_in": TOKEN_DAYS,
        },
    )
    if answer.status != 200:
        text = answer.body.decode(errors="replace")[:300]
        raise LabError(f"The lab's NetBird server refused to set up its account ({answer.status}): {text}")
    token = json.loads(answer.body).get("personal_access_token", "")
    if not token:
        raise LabError("The lab's NetBird server set up its account and gave no API token.")
    return str(token)
