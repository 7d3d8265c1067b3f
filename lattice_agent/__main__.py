"""``python -m lattice_agent``: the same as the command ``lattice-agent``."""

import sys

from lattice_agent.cli import main

sys.exit(main())
