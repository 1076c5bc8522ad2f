"""What an `up` hears of the keepers: their words on a link that does not come up, and whether it carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from components.keeper_words import LINK_SECONDS, keepers_say, link_carries, why_not_in_order, words_on
from components.kubernetes_client import KubernetesClient, KubernetesError
from components.waiting import Seen
from domain.keeper import KeeperStatus
from tests.components.test_waits import pod


def said(*, reason: str = "", own: str = "", peer: str = "de") -> str:
    status = {
        "self_ok": not own,
        "self_reasons": [own] if own else [],
        "peers": {peer: {"good": not reason, "reason": reason or None}},
    }
    return f"keeper: x\nSTATUS {json.dumps(status)}\nkeeper: y\n"


Logs = Mapping[str, str | KubernetesError]


class Api:
    """The API server as far as it is asked: {node: log}; a log that is an error is raised."""

    def __init__(self, logs: Logs, *, ready: bool = True) -> None:
        self.logs, self.ready = logs, ready

    def request(self, method: str, path: str) -> Any:
        start = "/api/v1/namespaces/kube-system/pods?labelSelector=app.kubernetes.io%2Fname%3Disthmus-keeper"
        assert (method, path) == ("GET", start)
        found = [{**pod(node, ready=self.ready), "metadata": {"name": f"isthmus-keeper-{node}"}} for node in self.logs]
        return {"items": found}

    def text(self, path: str) -> str:
        name, _, query = path.removeprefix("/api/v1/namespaces/kube-system/pods/").partition("/")
        assert query == "log?container=keeper&tailLines=200"
        log = self.logs[name.removeprefix("isthmus-keeper-")]
        if isinstance(log, KubernetesError):
            raise log
        return log


def client(logs: Logs, *, ready: bool = True) -> KubernetesClient:
    return cast("KubernetesClient", Api(logs, ready=ready))


ROUTERS = ("mn-2", "mn-3")
REASON = "no answer of de-agent-1 (100.92.0.7) for 40 s"


class TestWords:
    def test_of_each_router(self) -> None:
        logs = {"mn-2": said(reason=REASON), "mn-3": said(own="wt0 is gone"), "mn-9": said(reason="of no router")}
        assert words_on(client(logs), ROUTERS, "de") == f"the keeper says: mn-2: {REASON}. mn-3: wt0 is gone"

    @pytest.mark.parametrize(
        "logs",
        [
            {},
            {"mn-2": ""},
            {"mn-2": said()},
            {"mn-2": KubernetesError("dial tcp", 500)},
            {"mn-2": said(reason="x", peer="kz")},
        ],
    )
    def test_none(self, logs: Logs) -> None:
        assert words_on(client(logs), ROUTERS, "de") == ""

    def test_a_keeper_that_is_not_ready_is_not_asked(self) -> None:
        assert words_on(client({"mn-2": said(reason=REASON)}, ready=False), ROUTERS, "de") == ""

    def test_an_api_that_is_away_is_no_reason(self) -> None:
        class Away(Api):
            def request(self, method: str, path: str) -> Any:
                raise KubernetesError("refused")

        assert words_on(cast("KubernetesClient", Away({})), ROUTERS, "de") == ""

    def test_what_each_says(self) -> None:
        logs: Logs = {"mn-2": said(), "mn-3": KubernetesError("dial tcp", 502)}
        assert keepers_say(client(logs), ROUTERS) == {"mn-2": KeeperStatus((), {"de": ""})}

    @pytest.mark.parametrize(
        ("logs", "ready", "says"),
        [
            pytest.param({}, True, "", id="no keepers"),
            pytest.param({"mn-3": said(own="wt0 is gone")}, True, "", id="another router's"),
            pytest.param({"mn-2": said(reason=REASON)}, True, "", id="of a link it is not asked"),
            pytest.param({"mn-2": said(own="wt0 is gone")}, True, "its keeper says: wt0 is gone", id="not in order"),
            pytest.param({"mn-2": said()}, False, "its keeper has not said yet", id="not ready, so said before"),
            pytest.param({"mn-2": ""}, True, "its keeper has not said yet", id="nothing said"),
        ],
    )
    def test_a_routers_own_order(self, logs: Logs, says: str, *, ready: bool) -> None:
        found = why_not_in_order(client(logs, ready=ready), "mn-2")
        assert found.startswith(says)
        assert bool(found) == bool(says)


class TestCarries:
    def look(self, logs: Logs, *, after: float = 0.0) -> Seen:
        clock = iter([0.0, after])
        return link_carries(client(logs), "de", ROUTERS, now=lambda: next(clock)).look()

    def test_when_every_keeper_says_so(self) -> None:
        assert self.look({"mn-2": said(), "mn-3": said()}) == Seen(True, "it carries")

    @pytest.mark.parametrize(
        ("logs", "state"),
        [
            ({}, "no keeper has said so yet"),
            ({"mn-2": said(peer="kz")}, "no keeper has said so yet"),
            ({"mn-2": said(), "mn-3": said(reason=REASON)}, f"mn-3: {REASON}"),
        ],
    )
    def test_not_yet(self, logs: Logs, state: str) -> None:
        assert self.look(logs, after=LINK_SECONDS - 1) == Seen(False, state)

    def test_what_is_late_is_told_and_fails_nothing(self) -> None:
        found = self.look({"mn-2": said(reason=REASON)}, after=LINK_SECONDS)
        note = f"the link to de is in place and does not carry yet. The keeper says: mn-2: {REASON}"
        assert found == Seen(True, f"mn-2: {REASON}", (note,))

    def test_keepers_that_say_nothing_are_no_news(self) -> None:
        assert self.look({"mn-2": ""}, after=LINK_SECONDS) == Seen(True, "no keeper has said so yet")
