"""The entrance of the package, and of the file that it is packed into."""

from __future__ import annotations

import sys

from lab.standins.k3s.command_line import run

sys.exit(run(sys.argv))
