"""How the stand-in refuses: one message for a person."""

from __future__ import annotations


class StandInError(Exception):
    """A message for the person who reads the journal; never holds a secret."""
