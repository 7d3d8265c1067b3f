"""``lattice-control`` that announces no extension, as an unmodified control plane does not."""

import sys

from lattice_agent.wire.ext import Announcement
from server_stub.api import agent
from server_stub.cli import main

agent.EXTENSIONS = Announcement()  # type: ignore[misc]  # Final, but for this benchmark
sys.exit(main())
