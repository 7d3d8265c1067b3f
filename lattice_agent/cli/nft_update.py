"""``-update-nft-domain-set``: the addresses of a host name into nft sets, for the server's firewall scripts."""

import sys

from lattice_agent.cli.commandline import CommandLine
from lattice_agent.errors import NftError
from lattice_agent.nft.apply import apply, summary
from lattice_agent.nft.names import checked_update
from lattice_agent.nft.resolve import resolve


def run(line: CommandLine) -> int:
    """Exit 0 when the sets hold the addresses, 1 when nothing was changed; one line on stderr says which."""
    allow_empty = line.is_on("allow-empty")
    try:
        update = checked_update(
            host=line.text("host"),
            family=line.text("family", "inet"),
            table=line.text("table"),
            set4=line.text("set"),
            set6=line.text("set6"),
        )
        addresses = resolve(update)
        apply(update, addresses, allow_empty=allow_empty)
    except NftError as error:
        print(f"nft domain set update failed: {error}", file=sys.stderr)
        return error.exit_code
    done = summary(update, addresses, allow_empty=allow_empty)
    print(f"nft domain set update ok: {update.host} in {done}", file=sys.stderr)
    return 0
