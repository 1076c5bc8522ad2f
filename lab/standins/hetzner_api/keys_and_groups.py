"""Operations on the two simplest resources: SSH keys and placement groups. Pure."""

from __future__ import annotations

from datetime import datetime

from lab.standins.hetzner_api import errors, formats, requests
from lab.standins.hetzner_api.cloud import Cloud, require_unique_name, set_name_and_labels
from lab.standins.hetzner_api.records import PlacementGroup, SshKey


def create_ssh_key(cloud: Cloud, body: requests.CreateSshKey, now: datetime) -> SshKey:
    """Store a public key; name and key are unique each."""
    keys = cloud.state.ssh_keys
    require_unique_name(keys, "SSH key", body.name)
    fingerprint = formats.fingerprint(body.public_key)
    if any(key.fingerprint == fingerprint for key in keys.values()):
        raise errors.uniqueness_error("SSH key with the same fingerprint already exists", "public_key")
    key = SshKey(
        id=cloud.new_id(),
        name=body.name,
        created=now,
        labels=dict(body.labels),
        public_key=body.public_key,
        fingerprint=fingerprint,
    )
    keys[key.id] = key
    return key


def update_ssh_key(cloud: Cloud, key: SshKey, body: requests.Update) -> SshKey:
    """Change name and labels at once."""
    set_name_and_labels(cloud.state.ssh_keys, "SSH key", key, body)
    return key


def delete_ssh_key(cloud: Cloud, key: SshKey) -> None:
    """Take the key away; servers made with it keep it."""
    del cloud.state.ssh_keys[key.id]


def create_placement_group(cloud: Cloud, body: requests.CreatePlacementGroup, now: datetime) -> PlacementGroup:
    """Make an empty group."""
    groups = cloud.state.placement_groups
    require_unique_name(groups, "placement group", body.name)
    group = PlacementGroup(id=cloud.new_id(), name=body.name, created=now, labels=dict(body.labels), type=body.type)
    groups[group.id] = group
    return group


def update_placement_group(cloud: Cloud, group: PlacementGroup, body: requests.Update) -> PlacementGroup:
    """Change name and labels at once."""
    set_name_and_labels(cloud.state.placement_groups, "placement group", group, body)
    return group


def delete_placement_group(cloud: Cloud, group: PlacementGroup) -> None:
    """Take the group away; its servers go on without one."""
    for server in cloud.state.servers.values():
        if server.placement_group == group.id:
            server.placement_group = None
    del cloud.state.placement_groups[group.id]
