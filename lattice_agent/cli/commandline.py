"""The command line of ``lattice-agent`` as a whole: which flags there are, and what one call of it asked for."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from lattice_agent.cli.goflags import Flag, FlagKind, FlagValue, parse
from lattice_agent.config.options import Kind
from lattice_agent.config.table import CONFIG, OPTIONS, shown_default
from lattice_agent.config.unbuilt import UNBUILT

_FLAG_KINDS: Final = {
    Kind.SWITCH: FlagKind.BOOL,
    Kind.INTEGER: FlagKind.INT,
    Kind.SECONDS: FlagKind.DURATION,
}


@dataclasses.dataclass(frozen=True, slots=True)
class CommandLine:
    """Flags as given, and the environment they were given in."""

    flags: Mapping[str, FlagValue]
    environ: Mapping[str, str]
    ignored: int = 0
    """Words after the flags. The Go agent ignores them, so we do; their text may be a misplaced secret."""

    def is_on(self, flag: str) -> bool:
        """Whether a boolean flag was given as true."""
        return self.flags.get(flag) is True

    def text(self, flag: str, default: str = "") -> str:
        """The value of a flag that takes a text."""
        value = self.flags.get(flag, default)
        assert isinstance(value, str)
        return value


_ONE_SHOT_FLAGS: Final = (
    Flag("version", FlagKind.BOOL, "Print the version and exit."),
    Flag("compat-json", FlagKind.BOOL, "Print as JSON which servers this agent was made for, and exit."),
    Flag("update-nft-domain-set", FlagKind.BOOL, "Resolve -host, put its addresses into nft sets, and exit."),
    Flag("host", FlagKind.STRING, "Host name to resolve for -update-nft-domain-set."),
    Flag("family", FlagKind.STRING, "Family of the nft table: inet, ip or ip6.", "inet"),
    Flag("table", FlagKind.STRING, "The nft table that holds the sets."),
    Flag("set", FlagKind.STRING, "The nft set for IPv4 addresses."),
    Flag("set6", FlagKind.STRING, "The nft set for IPv6 addresses."),
    Flag("allow-empty", FlagKind.BOOL, "Empty the nft set of a family that has no address, instead of leaving it."),
    Flag("selfcheck-controlplane", FlagKind.BOOL, "Ask the control plane for its health and exit; 0 if it is well."),
)


def known_flags() -> dict[str, Flag]:
    """Every flag by name: the settings', the one-shot modes', and those of features that are not built."""
    flags = [Flag(CONFIG.flag, FlagKind.STRING, CONFIG.doc), *_ONE_SHOT_FLAGS]
    for key, option in OPTIONS.items():
        kind = FlagKind.STRINGS if option.repeat else _FLAG_KINDS.get(option.kind, FlagKind.STRING)
        flags.append(Flag(option.flag, kind, option.doc, shown_default(key)))
    for unbuilt in UNBUILT:
        kind = _FLAG_KINDS.get(unbuilt.kind, FlagKind.STRING)
        flags.append(Flag(unbuilt.flag, kind, f"Accepted without effect: {unbuilt.feature} (not built)."))
    return {flag.name: flag for flag in flags}


def read(words: Sequence[str], environ: Mapping[str, str]) -> CommandLine:
    """Parses the words after the program's name. Raises FlagError and HelpRequested."""
    parsed = parse(known_flags(), words)
    return CommandLine(parsed.values, environ, ignored=len(parsed.rest))
