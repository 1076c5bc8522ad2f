"""What the dynamic providers of NetBird's objects share: configuration, comparison, marks, and the ends.

The outputs of a resource are what NetBird has, field by field, under the names of the inputs; so a change by hand shows
in a ``refresh`` and is put right by the next ``up``. State of earlier releases lacks some of the outputs: what is
missing there asks for an update in place, never for a new object.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pulumi.dynamic import ConfigureRequest, CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from components.netbird_client import Json, NetbirdClient, NetbirdError
from domain.netbird_marks import instance_of, marked

SKIP: Final = "ISTHMUS_SKIP_NETBIRD"
"""In the environment of ``pulumi destroy``: resources are forgotten, and NetBird is not asked."""
OBJECT_ID: Final = "object_id"
"""Output: the id of the object. It differs from the resource's id, which the engine never changes, once an update found
the object gone and made it anew."""


class NetbirdProvider(ResourceProvider):
    """A kind of object. A subclass says how it is made, changed, read and deleted; ``props`` are the inputs, and in
    ``_find`` and ``_remove`` the last outputs.
    """

    serialize_as_secret_always = False
    """The serialised provider is a reference to the class; as a secret it would only hide that."""

    what: ClassVar[str]
    """The kind, in messages."""
    inputs: ClassVar[tuple[str, ...]]
    """The names of all inputs."""
    expected: ClassVar[Mapping[str, Any]] = {}
    """Inputs that are the same in every program, and that older ones did not have."""
    replaced_by: ClassVar[tuple[str, ...]] = ()
    """Inputs whose change asks for a new object."""

    def configure(self, req: ConfigureRequest) -> None:
        """Address and token, from the stack's configuration."""
        # Objects in the configuration come as JSON; everything in this section has a default.
        section = json.loads(req.config.get("netbird") or "{}")
        url = section.get("management_url") or _default_management_url()
        self._client = NetbirdClient(url, req.config.require("netbirdApiToken"))

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        """Makes the object, or takes over what an interrupted run left; gives its id and further outputs."""
        raise NotImplementedError

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        """Puts the object right; gives its id, another one when it was gone, and further outputs."""
        raise NotImplementedError

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        """The outputs as NetBird has them now, None when the object is gone."""
        raise NotImplementedError

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        raise NotImplementedError

    def create(self, props: Json) -> CreateResult:
        """Makes the object."""
        id_, outs = self._make(self._client, _plain(props))
        return CreateResult(id_, {**_plain(props), **outs, OBJECT_ID: id_})

    def update(self, _id: str, _olds: Json, _news: Json) -> UpdateResult:
        """Puts the object right."""
        id_, outs = self._change(self._client, _olds.get(OBJECT_ID) or _id, _plain(_news), _plain(_olds))
        return UpdateResult({**_plain(_news), **outs, OBJECT_ID: id_})

    def read(self, id_: str, props: Json) -> ReadResult:
        """What NetBird has."""
        known = _plain(props)
        current = known.get(OBJECT_ID) or id_
        found = self._find(self._client, current, known)
        if found is None:
            return ReadResult("", {})
        outs = {**known, **found, OBJECT_ID: current}
        # As inputs too: only those show in a preview what it is that the next `up` puts right.
        return ReadResult(current, outs, {key: outs[key] for key in self.inputs if key in outs})

    def delete(self, _id: str, _props: Json) -> None:
        """Deletes the object, unless :data:`SKIP` is set. Raises NotDeletedError."""
        id_ = _props.get(OBJECT_ID) or _id
        named = f"{self.what} {_props.get('name') or _props.get('group') or ''} ({id_})"
        if os.environ.get(SKIP):
            return tell(f"{SKIP}: left in NetBird as it is: {named}")
        try:
            self._remove(self._client, id_, _plain(_props))
        except NetbirdError as error:
            raise NotDeletedError(named, error) from None

    def diff(self, _id: str, _olds: Json, _news: Json) -> DiffResult:
        """Compares the last outputs with the inputs. It asks nobody: a preview works while NetBird is away."""
        # What the program or an old state does not say is as it should be.
        wanted = {**self.expected, **_plain(_news)}
        changed = sorted(key for key, value in wanted.items() if self._differs(key, value, _olds))
        replaces = [key for key in changed if key in self.replaced_by and key in _olds]
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=True)

    def _differs(self, key: str, wanted: Any, olds: Json) -> bool:
        if key in self.expected and key not in olds:
            return False
        return bool(olds.get(key) != wanted)


class NotDeletedError(Exception):
    """An object of a stack that goes stays in NetBird, and what to do about it."""

    def __init__(self, named: str, error: NetbirdError) -> None:
        if error.status is not None and not error.worth_retrying and error.status not in (401, 403):
            way = "take it out of what still uses it, and run the same command again"
        else:
            way = "run the same command again when NetBird answers"
        super().__init__(
            f"{named} was not deleted: {error}; {way}; to go on and leave NetBird as it is: `{SKIP}=1 pulumi destroy`"
        )


def tell(message: str) -> None:
    """Says something to the person at the command: the engine shows what the provider's process prints."""
    print(message, flush=True)


def _default_management_url() -> str:
    """The default of the settings, imported only where it is needed: the provider's process starts in every preview."""
    from domain.settings.installed import NetbirdSettings

    return NetbirdSettings().management_url


def _plain(props: Mapping[str, Any]) -> Json:
    """The properties without the SDK's own and without those that only the provider fills (None in the program)."""
    return {key: value for key, value in props.items() if not key.startswith("__") and value is not None}


def group_id(client: NetbirdClient, name: str) -> str:
    """The id of the group of this name; a missing one says what has to happen first, several who they are."""
    ids = group_ids(client, name)
    if not ids:
        raise NetbirdError("GET", "/groups", 200, f"there is no group {name}; raise the stack it belongs to first")
    if len(ids) > 1:
        raise NetbirdError(
            "GET", "/groups", 200, f"{len(ids)} groups are called {name} ({', '.join(ids)}); delete all but one"
        )
    return ids[0]


def group_ids(client: NetbirdClient, name: str) -> list[str]:
    """The ids of all groups of this name, which should be one."""
    return [str(group["id"]) for group in client.list("/groups") if group["name"] == name]


def groups_as_input(client: NetbirdClient, wanted: str, groups: list[Json] | None) -> str:
    """The groups that an object names, as an input says it: the wanted name when it is that group, by its id, and no
    other; else names and ids of what is there.
    """
    there = {str(group["id"]): str(group.get("name", "")) for group in groups or []}
    if list(there) == group_ids(client, wanted):
        return wanted
    return ", ".join(f"{name} ({id_})" for id_, name in sorted(there.items())) or "none"


def own_one(name: str, what: str, cluster: str, instance: str | None, found: list[Json]) -> Json | None:
    """Of the objects of a collection the one of this name that this stack made, or may take over.

    Ours is what carries our mark; without any mark it is from a release that left none, or an interrupted run of one.
    Raises TakenError when it is of another stack, AmbiguousError when nobody can tell.
    """
    named = [item for item in found if item["name"] == name]
    ours = [item for item in named if instance is not None and instance_of(item.get("description")) == instance]
    if ours:
        return ours[0]
    unmarked = [item for item in named if instance_of(item.get("description")) is None]
    if len(unmarked) < len(named):
        raise TakenError(f"{what} {name}", cluster)
    if len(unmarked) > 1:
        ids = ", ".join(sorted(str(item["id"]) for item in unmarked))
        raise AmbiguousError(
            f"NetBird: {len(unmarked)} of the kind {what} are called {name} ({ids}), none with a mark of a stack; "
            "delete all but one"
        )
    if unmarked:
        tell(f"NetBird: took over {what} {name} ({unmarked[0]['id']}), which was there already")
        return unmarked[0]
    return None


class AmbiguousError(Exception):
    """Several objects in NetBird may be the one that is looked for."""


class TakenError(Exception):
    """An object in NetBird is of another state of a stack of this name."""

    def __init__(self, named: str, cluster: str) -> None:
        super().__init__(
            f"NetBird: {named} was made by another stack called {cluster} (another project, or another state); two "
            "such stacks can't share a NetBird account: give one of them another name, or bring back the state it "
            "belongs to; if that stack is gone for good, delete its objects in NetBird: what is called "
            f"isthmus-{cluster}-..."
        )


def remove_doubles(client: NetbirdClient, collection: str, name: str, kept: str, instance: str | None) -> None:
    """Deletes what else this stack made under the name of one of its objects; says what others made."""
    for item in client.list(collection):
        if item["name"] != name or item["id"] == kept:
            continue
        where = f"{collection}/{item['id']}"
        if instance is not None and instance_of(item.get("description")) == instance:
            client.delete(where)
            tell(f"NetBird: removed {where}, a second {name} of this stack")
        else:
            tell(f"NetBird: {where} is called {name} too, and this stack did not make it; it is left alone")


def put_if_there(client: NetbirdClient, path: str, body: Json) -> bool:
    """Changes an object; False when it is gone."""
    try:
        client.put(path, body)
    except NetbirdError as error:
        if error.status == 404:
            return False
        raise
    return True


def unmarked(description: str | None, props: Json) -> str:
    """A description as the input says it: without the mark, if that is the one that this stack writes."""
    text = description or ""
    wanted = str(props.get("description", ""))
    if "instance" in props and text == marked(wanted, props["cluster"], props["instance"]):
        return wanted
    return text
