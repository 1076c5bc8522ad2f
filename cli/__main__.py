"""``python -m cli``: what the wrapper `./isthmus` runs.

The garbage collector is told here what it can't know: a short command makes tens of thousands of objects at its start
that all stay, and then ends. Looking through them every 700 objects, as is Python's custom, and once more at the end,
took a fifth of the time of `./isthmus plan` and found next to nothing.
"""

from __future__ import annotations

import atexit
import gc
import sys

gc.set_threshold(100_000)
# What is frozen is not looked through; its memory goes back with the process.
atexit.register(gc.freeze)

from cli.app import main  # noqa: E402 (the loading is what makes the objects)

if __name__ == "__main__":
    sys.exit(main())
