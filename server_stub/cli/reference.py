"""The command reference in docs/control.md, written from the parser itself.

``python -m server_stub.cli.reference docs/control.md`` rewrites what stands between the two markers; a test compares.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Final

from server_stub.cli.commands import COMMANDS
from server_stub.cli.parser import PROGRAM, build_parser

BEGIN: Final = "<!-- begin: written by python -m server_stub.cli.reference -->\n"
END: Final = "<!-- end -->\n"


def reference() -> str:
    """A heading and the help text of each command, in the order of the table."""
    return "\n".join(_sections())


def with_reference(page: str) -> str:
    """The page with the part between the markers replaced; ``ValueError`` if it has not both."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {(BEGIN if not begin else END).strip()}")
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


def _sections() -> Iterator[str]:
    parser = build_parser(COMMANDS)
    for command in COMMANDS:
        shown = io.StringIO()
        with redirect_stdout(shown), suppress(SystemExit):
            parser.parse_args([*command.words, "--help"])
        yield f"### `{PROGRAM} {' '.join(command.words)}`\n\n```text\n{shown.getvalue()}```\n"


def main() -> None:
    """Rewrites the page named on the command line."""
    page = Path(sys.argv[1])
    page.write_text(with_reference(page.read_text()))


if __name__ == "__main__":
    main()
