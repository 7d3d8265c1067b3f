"""The control plane with crash points: ``python -m tests.crashes.server_program FUSE DB STEERING WIRE PORT``.

The steered one (``tests.rigs.steered_server``), whose answers to results come in two halves.
"""

import sys
from pathlib import Path

from tests.crashes.hook import install
from tests.crashes.points import POINTS


def main(fuse: str, *words: str) -> None:
    install(POINTS, Path(fuse))
    from tests.crashes.half_answers import HalfAnswers
    from tests.rigs import steered_server

    steered_server.main(*words, around=HalfAnswers)


if __name__ == "__main__":
    main(*sys.argv[1:])
