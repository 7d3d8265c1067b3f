"""What the owner of a node and its scripts write: flags, variables, TOML, durations, headers, host names."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

from lattice_agent.cli.commandline import read as read_command_line
from lattice_agent.cli.goflags import FlagError, HelpRequested
from lattice_agent.cli.script_source import ScriptError, interpret
from lattice_agent.config import golang
from lattice_agent.config.file import parse_toml
from lattice_agent.config.load import load
from lattice_agent.errors import ConfigError, NftError, PolicyError
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import minimum, with_min_level
from lattice_agent.exec.local_policy import INTERPRETERS, LocalPolicy
from lattice_agent.exec.plan import Level, Plan, TaskRequest
from lattice_agent.exec.policy import decide
from lattice_agent.exec.policy_file import examine_policy, parse_policy
from lattice_agent.exec.script_header import HeaderError, asked_level
from lattice_agent.link.settings import LinkSettings
from lattice_agent.nft.names import checked_update
from server_stub.cli import arguments
from server_stub.cli.connection import server_url
from server_stub.cli.script import checked_script
from server_stub.errors import ControlError
from server_stub.rules.script_header import HeaderError as ServerHeaderError
from server_stub.rules.script_header import asked_level as server_asked_level
from tests.fuzz.form import chosen, headed, scratch, text
from tests.fuzz.target import Target

_USER: Final = 1000


def _words(data: bytes) -> list[str]:
    """Words of a command line as a process gets them: bytes that are no UTF-8 included."""
    return [word.decode("utf-8", "surrogateescape") for word in data.split(b"\n") if b"\x00" not in word]


def _flags(data: bytes) -> None:
    line = read_command_line(_words(data), {})
    again = read_command_line(_words(data), {})
    assert line == again
    if "config" not in line.flags:
        load(line.flags, {}, euid=_USER)


def _environment(data: bytes) -> None:
    variables = dict(word.partition("=")[::2] for word in _words(data))
    variables.pop("LATTICE_CONFIG", None)
    loaded = load({}, variables, euid=_USER)
    assert all(warning.isprintable() for warning in loaded.warnings)


def _file() -> Path:
    return scratch() / "agent.toml"


def _configuration(data: bytes) -> None:
    _file().write_bytes(data)
    _file().chmod(0o600)
    loaded = load({"config": str(_file())}, {}, euid=_file().stat().st_uid)
    assert loaded == load({"config": str(_file())}, {}, euid=_file().stat().st_uid)


def _host(uid: int) -> HostState:
    """A node that reaches every level and has every interpreter."""
    paths = {name: f"/usr/bin/{name}" for name in INTERPRETERS}
    return HostState(
        allow_exec=True,
        allow_root_exec=False,
        no_exec=False,
        uid=uid,
        interpreters=paths,
        agent_bin="/usr/bin/lattice-agent",
        work_root="/tmp",
        uid_threads=1,
        reached=frozenset(Level),
        confined_interpreters=dict.fromkeys(Level, paths),
    )


def _policy(data: bytes) -> None:
    """Reading and examining agree; and whatever the file says, no task runs below its minimum without a grant."""
    document = parse_toml(data, Path("policy.toml"))
    policy, problems = examine_policy(document)
    try:
        assert parse_policy(document) == policy
        assert not problems
    except PolicyError:
        assert problems
        return
    for uid in (0, _USER):
        host = _host(uid)
        for interpreter in INTERPRETERS:
            made = decide(TaskRequest("t", "l", interpreter, "true", 30, 65_536), policy, host)
            if isinstance(made, Plan) and not _grants(policy):
                assert made.level.strength >= minimum(policy, host).strength


def _grants(policy: LocalPolicy) -> bool:
    return bool(policy.scripts or policy.levels)


def _task(data: bytes) -> None:
    """A task of the control plane's against a policy without grants: nothing in it widens what may happen."""
    interpreter, script = headed(data)
    request = TaskRequest("task_1", "lease_1", interpreter, text(script), len(data), len(data) * 7)
    made = decide(request, LocalPolicy(), _host(_USER))
    if isinstance(made, Plan):
        assert made.level is Level.STRICT
        assert made.script == request.script.encode()
        assert made.interpreter in INTERPRETERS
    else:
        assert made.reason.isprintable()


def _header(data: bytes) -> None:
    """The agent and the server read the same level, or both refuse the script."""
    interpreter, script = headed(data)
    body = text(script)
    try:
        level = asked_level(body, interpreter)
    except HeaderError as error:
        said = str(error)
        try:
            server_asked_level(body, interpreter)
        except ServerHeaderError:
            assert said.isprintable()
            return
        raise AssertionError("the server takes what the agent refuses") from error
    assert server_asked_level(body, interpreter) == (level.value if level else "")


def _script(data: bytes) -> None:
    found = interpret(data, "")
    assert found.interpreter in INTERPRETERS
    assert found.text == data


def _sent_script(data: bytes) -> None:
    assert checked_script(data, "script 'x'").encode() == data


def _duration(data: bytes) -> None:
    """Go durations: what is written is read again, and the two readers of this repository agree."""
    given = text(data)
    seconds = golang.parse_duration(given)
    assert abs(golang.parse_duration(golang.format_seconds(seconds)) - seconds) <= 1e-9 + abs(seconds) * 1e-15
    try:
        other = arguments.seconds(given)
    except ArgumentTypeError:
        return
    if given != "0":
        assert abs(Fraction(seconds) - other) <= Fraction(1, 10**6) + other / 10**12


def _number(data: bytes) -> None:
    given = text(data)
    assert -(2**63) <= golang.parse_int(given) < 2**63


def _quoted(data: bytes) -> None:
    quoted = golang.quote(data.decode("utf-8", "surrogateescape"))
    assert quoted.isprintable()
    quoted.encode()


ARGUMENTS: Final[Mapping[str, Callable[[str], object]]] = {
    "seconds": arguments.seconds,
    "bytes": arguments.byte_count,
    "whole": arguments.whole(0, 10),
    "reset day": arguments.reset_day,
    "name": arguments.name,
    "identifier": arguments.identifier,
    "tag": arguments.tag,
    "time": arguments.time,
    "time or day": arguments.time_or_day,
    "address": arguments.address,
    "server": lambda given: server_url(given, insecure=False),
}


def _argument(data: bytes) -> None:
    parse, rest = chosen(ARGUMENTS, data)
    try:
        parse(rest.decode("utf-8", "surrogateescape"))
    except (ArgumentTypeError, ControlError) as error:
        refusal = str(error)
    else:
        return
    assert refusal.isprintable(), refusal


def _pin(data: bytes) -> None:
    settings = LinkSettings(base_url="https://a", node_id="n", pin_spki_sha256=(text(data),))
    assert LinkSettings(base_url="https://a", node_id="n", pin_spki_sha256=settings.pin_spki_sha256) == settings


def _nft(data: bytes) -> None:
    lines = [*text(data).split("\n"), "", "", "", ""]
    made = checked_update(host=lines[0], family=lines[1], table=lines[2], set4=lines[3], set6=lines[4])
    assert all(part.isascii() and part.isprintable() and " " not in part for part in (made.host, made.table))


def _min_level(data: bytes) -> None:
    with_min_level(LocalPolicy(), text(data))


TARGETS: Final = (
    Target("settings.flags", ("lattice_agent.cli.goflags", "lattice_agent.cli.commandline",
           "lattice_agent.config.load"), _flags, (FlagError, HelpRequested, ConfigError),
           "the same words give the same settings", longest=8_192),
    Target("settings.environment", ("lattice_agent.config.sources", "lattice_agent.config.unbuilt"), _environment,
           (ConfigError,), "warnings are printable", longest=8_192),
    Target("settings.configuration", ("lattice_agent.config.file", "lattice_agent.config.sources",
           "lattice_agent.config.trust"), _configuration, (ConfigError,), "the same file gives the same settings"),
    Target("settings.policy", ("lattice_agent.exec.policy_file", "lattice_agent.exec.policy_values"), _policy,
           (ConfigError,), "reading and examining agree; no task below the minimum without a grant"),
    Target("settings.task", ("lattice_agent.exec.policy",), _task, (), "without a grant a task runs at strict, or not"),
    Target("settings.header", ("lattice_agent.exec.script_header", "server_stub.rules.script_header"), _header, (),
           "agent and server read the same level", words=("# lattice: level=network", "// lattice: level=host")),
    Target("settings.script", ("lattice_agent.cli.script_source",), _script, (ScriptError,),
           "one of four interpreters"),
    Target("settings.sent_script", ("server_stub.cli.script",), _sent_script, (ControlError,), "sent as it is written"),
    Target("settings.duration", ("lattice_agent.config.golang", "server_stub.cli.arguments"), _duration,
           (ValueError,), "written and read again it is the same; both readers agree", longest=2_048),
    Target("settings.number", ("lattice_agent.config.golang",), _number, (ValueError,), "64 bits", longest=8_192),
    Target("settings.quoted", ("lattice_agent.config.golang",), _quoted, (), "printable", longest=8_192),
    Target("settings.argument", ("server_stub.cli.arguments", "server_stub.cli.connection"), _argument, (),
           "a refusal is one printable line", words=tuple(ARGUMENTS), longest=4_096),
    Target("settings.pin", ("lattice_agent.link.settings",), _pin, (ConfigError,), "one spelling", longest=1_024),
    Target("settings.nft_update", ("lattice_agent.nft.names",), _nft, (NftError,), "nothing that nft reads as syntax",
           longest=4_096),
    Target("settings.min_level", ("lattice_agent.exec.level_choice",), _min_level, (PolicyError,), longest=4_096),
)  # fmt: skip
