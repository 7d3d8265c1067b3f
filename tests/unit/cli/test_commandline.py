"""The table of flags as a whole: the Go agent's command line is understood, and nothing in it clashes."""

from pathlib import Path

import pytest

from lattice_agent.cli import commandline, commands
from lattice_agent.cli.commandline import known_flags, read
from lattice_agent.cli.goflags import FlagKind
from lattice_agent.config.table import OPTIONS
from lattice_agent.config.unbuilt import UNBUILT
from lattice_agent.errors import UsageError

# Protocol reference, section 6.
GO_BOOLEANS = """
    allow-exec allow-root-exec no-exec allow-terminal debug allow-insecure-http ssh-alerts singbox-discover version
    compat-json selfcheck-controlplane update-nft-domain-set
"""
GO_STRINGS = """
    server node-id token task-cgroup-root task-cgroup-memory-max task-cgroup-pids-max task-cgroup-cpu-max task-work-root
    terminal-transport public-ip public-ip6 ip-mode ip-resolvers ip-script wg-ip wg-pubkey wg-endpoint proxy-usage-file
    proxy-usage-url proxy-usage-secret proxy-usage-secret-file proxy-usage-xray-api proxy-usage-xray-bin
    proxy-usage-xray-pattern singbox-stats-api singbox-bin singbox-meta log-state-dir host family table set set6
"""
GO_FLAGS = {
    **dict.fromkeys(GO_BOOLEANS.split(), FlagKind.BOOL),
    **dict.fromkeys(GO_STRINGS.split(), FlagKind.STRING),
    "interval": FlagKind.DURATION,
    "proxy-usage-timeout": FlagKind.DURATION,
    "wg-port": FlagKind.INT,
}


def test_every_flag_of_the_go_agent_is_known_with_its_kind() -> None:
    known = known_flags()
    assert {name: known[name].kind for name in GO_FLAGS} == GO_FLAGS


def test_no_two_declarations_share_a_flag() -> None:
    declared = [option.flag for option in OPTIONS.values()] + [unbuilt.flag for unbuilt in UNBUILT]
    declared += [flag.name for flag in commandline._ONE_SHOT_FLAGS] + ["config"]
    assert sorted(declared) == sorted(known_flags())


def test_defaults_of_the_go_agent_are_shown() -> None:
    known = known_flags()
    shown = {
        name: known[name].default
        for name in ("server", "interval", "ip-mode", "proxy-usage-timeout", "family", "token")
    }
    assert shown == {
        "server": "http://127.0.0.1:8088",
        "interval": "10s",
        "ip-mode": "auto",
        "proxy-usage-timeout": "3s",
        "family": "inet",
        "token": "",
    }


def test_ignored_words_are_counted_not_kept() -> None:
    line = read(["-allow-exec", "true", "-token", "secret"], {})
    assert line.ignored == 3
    assert "secret" not in repr(line)


def test_a_boolean_given_as_false_is_not_on() -> None:
    assert read(["-version"], {}).is_on("version")
    assert not read(["-version=false"], {}).is_on("version")
    assert not read([], {}).is_on("version")


@pytest.mark.parametrize(
    ("words", "winner"),
    [
        (["-update-nft-domain-set", "-compat-json", "-version"], "version"),
        (["-selfcheck-controlplane", "-update-nft-domain-set", "-compat-json"], "compat"),
        (["-selfcheck-controlplane", "-update-nft-domain-set"], "nft_update"),
        (["--selfcheck-controlplane"], "selfcheck"),
    ],
)
def test_one_shot_modes_win_in_the_order_of_the_reference(words: list[str], winner: str) -> None:
    run = commands.one_shot(read(words, {}))
    assert run is not None
    assert run.__module__ == f"lattice_agent.cli.{winner}"


def test_without_a_one_shot_flag_the_agent_runs() -> None:
    assert commands.one_shot(read(["-version=false", "-host", "a"], {})) is None


def test_an_unknown_command_is_named() -> None:
    with pytest.raises(UsageError, match='unknown command "runn"'):
        commands.subcommand("runn")


def test_every_command_of_the_tables_can_be_imported() -> None:
    root = Path(commandline.__file__).parent
    for module in (*commands.ONE_SHOTS.values(), *commands.SUBCOMMANDS.values()):
        assert (root / f"{module.rpartition('.')[2]}.py").is_file()
