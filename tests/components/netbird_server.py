"""NetBird's management server in a thread: the REST API of what the program uses, with the refusals of the real one
(management/server in NetBird 0.77.1), and ordered faults.

Not here: users and their roles, the activity log, agents. A peer is there when a test says so.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOKEN: Final = "nbp_secret_of_the_tests"
Json = dict[str, Any]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Netbird:
    """Its objects by collection path, every request that came, and what goes wrong next."""

    url: str = ""
    token: str = TOKEN
    """What it accepts."""
    objects: dict[str, list[Json]] = field(default_factory=dict)
    """As they are stored: who is in a group are ids, a policy names groups by ids."""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    faults: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path, status): for the next such request; status 0 closes the connection once the work is done."""
    goes_at: tuple[str, str] | None = None
    """(method, path): with the next such request the server is away, for it and for all that come."""
    away: bool = False
    ids: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    """Of whoever changes something, or looks at more than one thing, while the server runs: its requests have it."""

    def add(self, collection: str, **body: Any) -> Json:
        """Puts an object there, whatever the server thinks of it."""
        with self.lock:
            self.ids += 1
            made = {"id": f"id{self.ids}", **copy.deepcopy(_DEFAULTS.get(_kind(collection), {})), **body}
            self.objects.setdefault(collection, []).append(made)
        return made

    def group(self, name: str, *peers: str) -> str:
        """The id of a new group with these peers in it."""
        return str(self.add("/groups", name=name, peers=list(peers), resources=[])["id"])

    def router(self, network: str, **changes: Any) -> Json:
        """A routing peer of a network, as the operator makes it."""
        shape = {"peer_groups": [], "metric": 9999, "masquerade": True, "enabled": True}
        return self.add(f"/networks/{network}/routers", **{**shape, **changes})

    def all(self, collection: str) -> list[Json]:
        """What is there."""
        return self.objects.get(collection, [])

    def one(self, collection: str, name: str) -> Json:
        """The one object of this name, as it is stored."""
        found = [item for item in self.all(collection) if item.get("name") == name]
        assert len(found) == 1, (collection, name, found)
        return found[0]

    def names(self, collection: str) -> list[str]:
        """The names of what is there."""
        return [item["name"] for item in self.all(collection)]

    def writes(self) -> list[tuple[str, str, Any]]:
        """The requests that change something."""
        return [request for request in self.requests if request[0] != "GET"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """What the server says to a request."""
        try:
            return 200, self._do(method, path, body)
        except Refused as refused:
            return refused.status, {"message": str(refused), "code": refused.status}

    def _do(self, method: str, path: str, body: Any) -> Any:
        whole = any(pattern.fullmatch(path) for pattern in _COLLECTIONS)
        collection, id_ = (path, "") if whole else path.rsplit("/", 1)
        if _kind(collection) not in _NAMES:
            raise Refused(404, "404 page not found")
        if collection.startswith("/networks/"):
            self._stored("/networks", collection.split("/")[2])
        if not id_ and method == "GET":
            return [self._shown(collection, item) for item in self.all(collection)] or None
        if not id_:
            self._check(collection, body, None)
            made = self._after(collection, self.add(collection, **body))
            # A setup key is shown once, in this answer.
            return {**self._shown(collection, made), **({"key": made["key"]} if "key" in made else {})}
        stored = self._stored(collection, id_)
        if method == "DELETE":
            self._remove(collection, stored)
            return {}
        if method == "PUT":
            self._check(collection, body, stored)
            # What a request leaves out is emptied.
            stored.update({**copy.deepcopy(_DEFAULTS.get(_kind(collection), {})), **body})
            self._after(collection, stored)
        return self._shown(collection, stored)

    def _stored(self, collection: str, id_: str) -> Json:
        for item in self.all(collection):
            if item["id"] == id_:
                return item
        raise Refused(404, f"{_NAMES[_kind(collection)]} not found: {id_}")

    def _check(self, collection: str, body: Json, old: Json | None) -> None:
        """Refuses what the real one refuses."""
        others = [item for item in self.all(collection) if item is not old]
        match _kind(collection):
            case "groups":
                if not body.get("name"):
                    raise Refused(422, "group name shouldn't be empty")
                if old is None and any(item["name"] == body["name"] for item in others):
                    raise Refused(409, f"group with name {body['name']} already exists")
                for peer in body.get("peers") or []:
                    self._stored("/peers", peer)
            case "policies":
                self._check_policy(body)
            case "zones":
                if old is not None and old["domain"] != body["domain"]:
                    raise Refused(422, "zone domain cannot be updated")
                if any(item["domain"] == body["domain"] for item in others):
                    raise Refused(409, f"zone with domain {body['domain']} already exists")
                for group in body["distribution_groups"]:
                    if group not in self._group_names():
                        raise Refused(422, f"group {group} not found")
            case "resources":
                every = [item for path, items in self.objects.items() if _kind(path) == "resources" for item in items]
                if any(item["name"] == body["name"] for item in every if item is not old):
                    said = f"resource with name {body['name']} already exists"
                    raise Refused(422, said if old is None else "new resource name already exists")
            case "setup-keys" if old is not None and old["revoked"] and not body["revoked"]:
                raise Refused(422, "can't un-revoke a revoked setup key")

    def _check_policy(self, body: Json) -> None:
        if not body.get("rules"):
            raise Refused(422, "policy rules shouldn't be empty")
        for rule in body["rules"]:
            if not rule.get("sources") or not rule.get("destinations"):
                raise Refused(422, "specify either sources or source resources and destinations or ...")
            if rule["action"] not in ("accept", "drop"):
                raise Refused(422, "unknown action type")
            if rule["protocol"] in ("all", "icmp") and rule.get("ports"):
                raise Refused(422, "for ALL or ICMP protocol ports is not allowed")

    def _after(self, collection: str, stored: Json) -> Json:
        """What follows from a write."""
        if _kind(collection) == "resources":
            for group in self.all("/groups"):
                group["resources"] = [resource for resource in group["resources"] if resource["id"] != stored["id"]]
                if group["id"] in stored["groups"]:
                    group["resources"].append({"id": stored["id"], "type": "subnet"})
        if _kind(collection) == "setup-keys":
            stored["valid"] = not stored["revoked"]
            stored.setdefault("key", f"{self.ids:05d}-KEY")
        return stored

    def _remove(self, collection: str, stored: Json) -> None:
        id_ = stored["id"]
        if collection == "/groups":
            self._refuse_linked(stored)
        if collection == "/networks":
            for part in ("resources", "routers"):
                for child in list(self.all(f"/networks/{id_}/{part}")):
                    self._remove(f"/networks/{id_}/{part}", child)
        for group in self.all("/groups"):
            group["resources"] = [resource for resource in group["resources"] if resource["id"] != id_]
            group["peers"] = [peer for peer in group["peers"] if peer != id_]
        self.objects[collection].remove(stored)

    def _refuse_linked(self, group: Json) -> None:
        if group["resources"]:
            raise Refused(400, f"group has been linked to network resource: {group['resources'][0]['id']}")
        for policy in self.all("/policies"):
            for rule in policy["rules"]:
                if group["id"] in [*rule["sources"], *rule["destinations"]]:
                    raise Refused(400, f"group has been linked to policy: {policy['name']}")
        for key in self.all("/setup-keys"):
            if group["id"] in key["auto_groups"]:
                raise Refused(400, f"group has been linked to setup key: {key['name']}")

    def _group_names(self) -> dict[str, str]:
        return {group["id"]: group["name"] for group in self.all("/groups")}

    def _minimum(self, ids: list[str]) -> list[Json]:
        """Groups as an object that names them shows them; those that are gone it does not show."""
        names = self._group_names()
        return [{"id": id_, "name": names[id_], "peers_count": 0} for id_ in ids if id_ in names]

    def _shown(self, collection: str, stored: Json) -> Json:
        """An object as it is answered."""
        shown = dict(stored)
        match _kind(collection):
            case "groups":
                names = {peer["id"]: peer["name"] for peer in self.all("/peers")}
                shown["peers"] = [{"id": id_, "name": names[id_]} for id_ in stored["peers"] if id_ in names] or None
                shown["resources"] = stored["resources"] or None
            case "peers":
                groups = [group["id"] for group in self.all("/groups") if stored["id"] in group["peers"]]
                shown["groups"] = self._minimum(groups)
            case "policies":
                shown["rules"] = [
                    {
                        **rule,
                        "sources": self._minimum(rule["sources"]),
                        "destinations": self._minimum(rule["destinations"]),
                    }
                    for rule in stored["rules"]
                ]
            case "resources":
                shown["groups"] = self._minimum(stored["groups"])
            case "setup-keys":
                shown["state"] = "valid" if stored["valid"] else "revoked"
                shown["key"] = str(stored.get("key", ""))[:5] + "****"
            case "networks":
                for part in ("resources", "routers"):
                    shown[part] = [child["id"] for child in self.all(f"/networks/{stored['id']}/{part}")]
        return shown


_COLLECTIONS: Final = [
    re.compile(pattern)
    for pattern in (
        *("/groups", "/policies", "/networks", "/peers", "/dns/zones", "/setup-keys"),
        r"/networks/[^/]+/(resources|routers)",
    )
]
_NAMES: Final = {
    "groups": "group",
    "policies": "policy",
    "networks": "network",
    "peers": "peer",
    "zones": "zone",
    "setup-keys": "setup key",
    "resources": "network resource",
    "routers": "network router",
}
_DEFAULTS: Final[dict[str, Json]] = {
    "groups": {"peers": [], "resources": []},
    "networks": {"policies": [], "description": ""},
    "policies": {"description": "", "source_posture_checks": []},
    "resources": {"description": ""},
    "setup-keys": {"revoked": False, "valid": True, "auto_groups": []},
}


def _kind(collection: str) -> str:
    return collection.rsplit("/", 1)[1]


@contextmanager
def running(account: Netbird | None = None) -> Iterator[Netbird]:
    """A server on a free port, or the given one's account again."""
    netbird = account or Netbird()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            with netbird.lock:
                self._serve_alone(self.path.removeprefix("/api"), body)

        def _serve_alone(self, path: str, body: Any) -> None:
            netbird.away |= (self.command, path) == netbird.goes_at
            if netbird.away:
                self.close_connection = True
                return None
            netbird.requests.append((self.command, path, body))
            fault = next((planned for planned in netbird.faults if planned[:2] == (self.command, path)), None)
            if fault is not None:
                netbird.faults.remove(fault)
            if self.headers.get("Authorization") != f"Token {netbird.token}":
                return self._send(401, {"message": "token invalid", "code": 401})
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

    # Under the address that it had before, if it had one.
    server = ThreadingHTTPServer(("127.0.0.1", int(netbird.url.rpartition(":")[2] or 0)), Handler)
    netbird.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield netbird
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
