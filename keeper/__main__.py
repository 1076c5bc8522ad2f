"""``python keeper.pyz --config FILE``.

Environment: NODE_NAME (this node's). Files: keeper.json, the key that siblings share (``--key``), and the service
account of Kubernetes at its usual place.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import NoReturn

from keeper.config import Config, ConfigFile
from keeper.doing import Doing
from keeper.kubernetes import api_of_environment
from keeper.service import Keeper, Place
from keeper.wireguard import SOCKETS

CONFIG = Path("/etc/isthmus-keeper/keeper.json")
KEY = Path("/etc/isthmus-keeper-key/key")
SHORTEST_KEY = 16


def main() -> NoReturn:
    """Runs until SIGTERM. The exit code is 0 then, and 2 when it can't start at all."""
    # By itself: what a zip file starts with forgets what a function returns.
    sys.exit(_run())


def _run() -> int:
    parser = argparse.ArgumentParser(prog="keeper", description="Keeps the link of a router node.")
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"default: {CONFIG}")
    parser.add_argument("--key", type=Path, default=KEY, help=f"the key that siblings share; default: {KEY}")
    parser.add_argument("--http-port", type=int, default=8055, help="on 127.0.0.1; default: 8055")
    parser.add_argument(
        "--wireguard", type=Path, default=SOCKETS, help=f"sockets of userspace WireGuard; default: {SOCKETS}"
    )
    options = parser.parse_args()
    node = os.environ.get("NODE_NAME", "")
    file = ConfigFile(options.config)
    config = file.changed()
    try:
        key = options.key.read_bytes().strip()
    except OSError as error:
        return _refuse(f"the siblings' key: {error}")
    if not node:
        return _refuse("NODE_NAME is not set: the keeper has to know its node")
    if config is None:
        return _refuse(file.problem)
    if len(key) < SHORTEST_KEY:
        return _refuse(f"{options.key}: the key has {len(key)} bytes; at least {SHORTEST_KEY} are needed")
    return asyncio.run(
        _keep(Place(node=node, key=key, http_port=options.http_port, sockets=options.wireguard), file, config)
    )


async def _keep(place: Place, file: ConfigFile, config: Config) -> int:
    doing = Doing(place.node, api_of_environment(), api_of_environment())
    return await Keeper(place, file, config, doing).run()


def _refuse(reason: str) -> int:
    sys.stderr.write(f"keeper: {reason}\n")
    return 2


if __name__ == "__main__":
    main()
