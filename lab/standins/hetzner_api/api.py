"""The HTTP edge: token, rate limit, ordered faults, error format, request log. All decisions lie behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from lab.standins.hetzner_api import faults, wire
from lab.standins.hetzner_api.errors import ApiError
from lab.standins.hetzner_api.faults import RequestFault
from lab.standins.hetzner_api.rate_limit import RateLimit
from lab.standins.hetzner_api.routes import Routes
from lab.standins.hetzner_api.routing import Handler
from lab.standins.hetzner_api.runner import Runner
from lab.standins.hetzner_api.wire import PREFIX

logger = logging.getLogger(__name__)

TOKEN_LENGTH = 64
WATCH_INTERVAL_SECONDS = 2.0


@dataclass(frozen=True)
class Access:
    """Who may call: one token, or any of the right length when there is none given."""

    token: str | None = None

    def allows(self, header: str | None) -> bool:
        """Check an Authorization header."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or len(token) != TOKEN_LENGTH:
            return False
        return self.token is None or hmac.compare_digest(token.encode(), self.token.encode())


class Api:
    """What every request passes before its handler. One instance serves one project."""

    def __init__(self, runner: Runner, access: Access, rate_limit: RateLimit) -> None:
        self.runner = runner
        self.access = access
        self.rate_limit = rate_limit

    def application(self) -> web.Application:
        """Return the aiohttp application; it resumes running actions at its start."""
        app = web.Application(middlewares=[self._log, self._errors, self._guard], client_max_size=1024**2)
        app.cleanup_ctx.append(self._background)
        Routes(self.runner).add_to(app)
        return app

    async def _background(self, app: web.Application) -> AsyncIterator[None]:
        self.runner.resume()
        watch = asyncio.create_task(self.runner.watch_machines(WATCH_INTERVAL_SECONDS))
        yield
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await self.runner.close()

    # From the outside in.

    @web.middleware
    async def _log(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Log method, path, status and time; never headers or bodies, which hold the token and user data."""
        begin = time.perf_counter()
        status: int | str = "dropped"
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            milliseconds = (time.perf_counter() - begin) * 1000
            logger.info("%s %s %s %.0f ms", request.method, request.path_qs, status, milliseconds)

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except ApiError as error:
            response = wire.answer(error.body(), error.status)
        except web.HTTPNotFound:
            logger.warning("unknown path: %s %s", request.method, request.path)
            message = "path not found; the stand-in does not offer it, or nobody does"
            response = wire.answer(ApiError(404, "not_found", message).body(), 404)
        except web.HTTPMethodNotAllowed:
            message = "the request method is not allowed"
            response = wire.answer(ApiError(405, "method_not_allowed", message).body(), 405)
        except (web.HTTPException, asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            logger.exception("%s %s", request.method, request.path)
            response = wire.answer(ApiError(500, "server_error", "error within the stand-in").body(), 500)
        if not response.prepared:
            response.headers.update(self.rate_limit.headers())
            response.headers["X-Correlation-Id"] = uuid.uuid4().hex[:16]
        return response

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check rate limit and token, and let ordered faults happen."""
        if not self.rate_limit.take(self.runner.clock()):
            raise ApiError(429, "rate_limit_exceeded", "the limit of requests per hour has been reached")
        if not self.access.allows(request.headers.get("Authorization")):
            raise ApiError(401, "unauthorized", "unable to authenticate")
        fault = self.runner.faults.for_request(request.method, request.path.removeprefix(PREFIX))
        if self.runner.faults.problem is not None:
            logger.error("%s", self.runner.faults.problem)
        if fault is None:
            return await handler(request)
        logger.info("fault on %s %s: %s %s", request.method, request.path, fault.when, fault.answer)
        if fault.when == "after":
            await handler(request)
        return await _faulty_answer(request, fault)


async def _faulty_answer(request: web.Request, fault: RequestFault) -> web.StreamResponse:
    if isinstance(fault.answer, int):
        code = fault.code or faults.CODES.get(fault.answer, "server_error")
        raise ApiError(fault.answer, code, fault.message)
    if fault.answer == "hang":
        await asyncio.sleep(fault.seconds)
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("connection dropped by an ordered fault")
