"""`./isthmus lab verify`: whether the link carries what it promises, seen from inside the pods.

A check collects facts (`checks.py`, through `sessions.py`), a pure function judges them (`judging.py`), and the result
is a value (`results.py`). Text, JSON and exit code come from the list of results. Nothing here prints, and nothing
changes the link, except for the probe pods and one short-lived NetBird policy for the bare-tunnel measurement.
"""
