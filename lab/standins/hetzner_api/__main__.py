"""Run the stand-in: `python -m lab.standins.hetzner_api --listen HOST:PORT --state DIR`. Ends cleanly on SIGTERM and
SIGINT.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from aiohttp import web

from lab.standins.hetzner_api.api import TOKEN_LENGTH, Access, Api
from lab.standins.hetzner_api.backend import MachineBackend, MemoryBackend
from lab.standins.hetzner_api.cloud import Cloud
from lab.standins.hetzner_api.faults import Faults
from lab.standins.hetzner_api.rate_limit import REQUESTS_PER_HOUR, RateLimit
from lab.standins.hetzner_api.runner import Runner, system_clock
from lab.standins.hetzner_api.storage import Storage
from lab.standins.hetzner_api.wire import PREFIX

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    host, _, port = options.listen.rpartition(":")
    token = options.token_file.read_text().strip() if options.token_file is not None else None
    if token is not None and len(token) != TOKEN_LENGTH:
        print(f"--token-file {options.token_file}: a token has {TOKEN_LENGTH} characters", file=sys.stderr)
        return 2
    storage = Storage(options.state)
    runner = Runner(
        Cloud(storage.load()),
        _backend(options.backend),
        storage,
        Faults(options.faults),
        action_seconds=options.action_seconds,
    )
    api = Api(runner, Access(token), RateLimit(options.requests_per_hour, system_clock()))
    logger.info("Hetzner Cloud API stand-in on http://%s:%s%s, machines: %s", host, port, PREFIX, options.backend)
    web.run_app(
        api.application(),
        host=host,
        port=int(port),
        print=None,
        access_log=None,
        # Requests that hang by order must not keep us from ending.
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.standins.hetzner_api",
        description="A stand-in of the Hetzner Cloud API whose servers are machines of the lab.",
    )
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="where to serve /v1, plain HTTP")
    parser.add_argument("--state", required=True, type=Path, metavar="DIR", help="directory of the stored state")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="the one token that is accepted; without it any of 64 characters",
    )
    parser.add_argument(
        "--backend", choices=("lab", "memory"), default="lab", help="where machines come from (default: %(default)s)"
    )
    parser.add_argument("--faults", type=Path, metavar="FILE", help="JSON file of ordered faults, read when it changes")
    parser.add_argument(
        "--action-seconds",
        type=float,
        default=1.0,
        metavar="N",
        help="what every action takes at least (default: %(default)s)",
    )
    parser.add_argument(
        "--requests-per-hour",
        type=int,
        default=REQUESTS_PER_HOUR,
        metavar="N",
        help="rate limit, as at Hetzner a bucket that refills evenly (default: %(default)s)",
    )
    return parser


def _backend(name: str) -> MachineBackend:
    if name == "memory":
        return MemoryBackend()
    # Only here, so that tests of the API need neither root nor the lab.
    from lab.standins.hetzner_api.lab_backend import LabBackend

    return LabBackend()


if __name__ == "__main__":
    sys.exit(main())
