"""The lab: two real clusters in namespaces of one Linux machine, one "at Hetzner" and one behind a NAT.

From the bottom up: `state` (who has the lab, taking it down) over `cgroups` and `commands`; `processes` and `network`
over it; `base` and `machine_files` are what `machines` is made of; `standins` are the parts that cannot be had off
line; `up` is the order in which it all comes. Nothing in the program (`components`, `domain`) knows of any of this.
"""
