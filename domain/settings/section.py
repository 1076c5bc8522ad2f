"""What all models of settings have in common: their base, and how many entries a list or a mapping may have."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

ENTRIES_LIMIT: Final = 100
"""Entries of lists and mappings: more than anybody needs, and few enough to look at each of them in no time. What is
longer is refused as a whole."""
UNITS: Final = {"mtu": "bytes", "underlay_mtu": "bytes", "count": "servers"}
"""Units of settings whose names don't say them; ``..._seconds`` does."""


class Section(BaseModel):
    """Base of all models: unknown keys are refused, and nothing changes after the check."""

    # Fields are checked one by one (see read_stack), so pydantic need not build a checker for a whole model. What a
    # setting means stands in docstrings, read where it is wanted (setting_docs.py): that takes longer than all checks.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
