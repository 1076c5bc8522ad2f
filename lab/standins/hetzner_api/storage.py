"""The state on disk: one JSON file, replaced atomically, readable by its owner only (user data holds secrets)."""

from __future__ import annotations

import os
from pathlib import Path

from lab.standins.hetzner_api.records import State

STATE_FILE = "state.json"


class Storage:
    """Keeps the state in a directory, which is made when it is missing."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / STATE_FILE

    def load(self) -> State:
        """Return the stored state, an empty one when there is none; a foreign file raises pydantic.ValidationError."""
        if not self.path.exists():
            return State()
        return State.model_validate_json(self.path.read_bytes())

    def save(self, state: State) -> None:
        """Write the state so that a crash at any moment leaves the old or the new one."""
        temporary = self.path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(state.model_dump_json(indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
