"""The pure core of Isthmus: settings, fleet checks, address plan, keys, and everything that is rendered.

It owns what a stack file means and what follows from it. It knows nothing of Pulumi, processes, networks or the
clock. Two things it reads from disk: its own package data (the two shell scripts under ``domain/files``), and, in
``stack_directory.py``, the stack files, so that the program and the command line see the same.
"""
