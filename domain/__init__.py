"""The pure core of Isthmus: settings, fleet checks, address plan, keys, and everything that is rendered.

It owns what a stack file means and what follows from it. It knows nothing of Pulumi, processes, networks or the
clock; the one thing it reads from disk is its own package data (the two shell scripts under ``domain/files``).
"""
