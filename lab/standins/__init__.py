"""Stand-ins of the lab: what the lab needs and cannot have offline, each in a place of its own.

A stand-in answers the same calls as the real thing and says in its docstring what it does not do.
"""
