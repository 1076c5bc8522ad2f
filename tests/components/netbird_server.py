"""NetBird's management server in a thread: the documented REST shapes of what the program uses, and ordered faults."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOKEN: Final = "nbp_secret_of_the_tests"


@dataclass
class Netbird:
    """Its objects by collection path, every request that came, and what goes wrong next."""

    url: str = ""
    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    faults: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path, status): for the next such request; status 0 closes the connection once the work is done."""
    ids: int = 0

    def add(self, collection: str, **body: Any) -> dict[str, Any]:
        """Puts an object there."""
        self.ids += 1
        made = {"id": f"id{self.ids}", **body}
        if collection == "/groups":
            made = {"peers": None, "resources": None, **made}
        self.objects.setdefault(collection, []).append(made)
        return made

    def names(self, collection: str) -> list[str]:
        """The names of what is there."""
        return [item["name"] for item in self.objects.get(collection, [])]

    def writes(self) -> list[tuple[str, str, Any]]:
        """The requests that change something."""
        return [request for request in self.requests if request[0] != "GET"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """What the server says to a request."""
        collection, id_ = (path, None) if path in _COLLECTIONS or _RESOURCES.fullmatch(path) else path.rsplit("/", 1)
        items = self.objects.setdefault(collection, [])
        if id_ is None:
            if method == "GET":
                return 200, items or None
            return 200, _answered(self.add(collection, **body), collection, self)
        found = [item for item in items if item["id"] == id_]
        if not found:
            return 404, {"message": f"{collection[1:]} not found: {id_}", "code": 404}
        if method == "DELETE":
            if collection == "/groups" and self._named_by_policy(id_):
                return 400, {"message": "group has been linked to policy", "code": 400}
            items.remove(found[0])
            return 200, {}
        if method == "PUT":
            found[0].update(_answered({"id": id_, **body}, collection, self))
        return 200, found[0]

    def _named_by_policy(self, group: str) -> bool:
        rules = [rule for policy in self.objects.get("/policies", []) for rule in policy["rules"]]
        return any(group in [one["id"] for one in [*rule["sources"], *rule["destinations"]]] for rule in rules)


_COLLECTIONS: Final = ("/groups", "/policies", "/networks", "/peers", "/dns/zones", "/setup-keys")
_RESOURCES: Final = re.compile(r"/networks/[^/]+/resources")


def _answered(made: dict[str, Any], collection: str, server: Netbird) -> dict[str, Any]:
    """Groups are sent as ids and answered as objects."""
    names = {group["id"]: group["name"] for group in server.objects.get("/groups", [])}
    if collection == "/policies":
        for rule in made["rules"]:
            for key in ("sources", "destinations"):
                rule[key] = [{"id": one, "name": names[one], "peers_count": 0} for one in rule[key]]
    if collection.endswith("/resources"):
        made["groups"] = [{"id": one, "name": names[one]} for one in made["groups"]]
    return made


@contextmanager
def running() -> Iterator[Netbird]:
    """A server on a free port."""
    netbird = Netbird()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.removeprefix("/api")
            netbird.requests.append((self.command, path, body))
            fault = next((one for one in netbird.faults if one[:2] == (self.command, path)), None)
            if fault is not None:
                netbird.faults.remove(fault)
            if self.headers.get("Authorization") != f"Token {TOKEN}":
                return self._send(401, {"message": "no valid authentication provided", "code": 401})
            if fault is not None and fault[2]:
                return self._send(fault[2], {"message": "try again later", "code": fault[2]})
            status, answer = netbird.answer(self.command, path, body)
            if fault is not None:
                self.close_connection = True
                return None
            return self._send(status, answer)

        def _send(self, status: int, answer: Any) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 (the names are the base class's)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    netbird.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield netbird
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
