"""The errors of the lab.

LabError
├── CommandFailed     a program that the lab calls ended badly; carries what it said
├── LabInUse          another lab is up on this machine
├── MachineError      a machine can't do what was asked of it
├── HelperEnded       a server of the lab ended by itself; carries what it said
└── DeadlinePassed    a condition did not come true in time; carries the last state seen
"""

from __future__ import annotations


class LabError(Exception):
    """The lab can't go on; the text says what, why, and what to do."""


class CommandFailed(LabError):
    """A program that the lab calls ended badly; the text carries what it said."""


class LabInUse(LabError):
    """Another lab is up on this machine."""


class MachineError(LabError):
    """A machine can't do what was asked of it."""


class HelperEnded(LabError):
    """A server of the lab ended by itself; the text carries what it said last."""


class DeadlinePassed(LabError):
    """A condition did not come true in time; the text carries the last state seen."""
