"""Property tests remember nothing between runs, and a busy machine fails none: pytest's own time limit holds."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("isthmus", deadline=None, database=None)
settings.load_profile("isthmus")
