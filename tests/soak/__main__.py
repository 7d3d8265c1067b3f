"""An agent and a control plane at work for hours, with faults: does anything grow, is anything lost?

    python -m tests.soak --hours 8
    python -m tests.soak --minutes 20 --write-docs

Ends with a table of verdicts; exit code 1 if something grew, was lost or came twice. ``--judge`` reads a run again.
"""

import argparse
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from tests.soak.course import Settings, soak
from tests.soak.report import REPOSITORY, judged, lines_of, write_documents


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1, help="of load and faults")
    parser.add_argument("--rate", type=float, default=4.0, help="tasks a second")
    parser.add_argument("--out", type=Path, help="where everything is left, not below /tmp; build/soak-TIME")
    parser.add_argument("--judge", type=Path, help="no run: judge what one left there")
    parser.add_argument("--write-docs", action="store_true", help="docs/soak.md and docs/soak.svg")
    words = parser.parse_args()
    out = words.judge or words.out or REPOSITORY / "build" / f"soak-{datetime.now():%Y%m%d-%H%M%S}"
    if not words.judge:
        seconds = 3_600 * words.hours + 60 * words.minutes
        if seconds <= 0:
            parser.error("say for how long: --hours or --minutes")
        # A soak that is ended takes its processes with it.
        signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(os.getpid(), signal.SIGINT))
        print(f"everything about this run is left in {out}", flush=True)
        soak(Settings(seconds, out.resolve(), words.seed, words.rate))
    report = judged(out)
    print("\n".join(lines_of(report)))
    if words.write_docs:
        write_documents(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
