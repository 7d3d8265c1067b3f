"""What to do to learn the node's public addresses (pure; protocol reference 1.4).

Flags of the command line say it, and the server's ``ip_config`` replaces them: a non-empty mode replaces mode, both
static addresses, resolvers and script together, so what the server leaves empty is empty, not the flag's. No
``ip_config`` gives the flags back. A plan is a value: the caller probes anew, at once, when it differs from the last.

``auto`` asks nobody outside unless resolvers were named. That is the one difference to the Go agent, which calls
third parties by default (its weak point 22); it is told to with ``-ip-mode resolver``, and then, if no resolvers are
named, the Go agent's are asked.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from lattice_agent.facts.addresses import Family, public_address_problem
from lattice_agent.wire.config import IpConfig

RESOLVERS_LIMIT: Final = 8
"""Resolvers kept of a list; with 5 s each, more could not be asked within the 12 s there are."""

SCRIPT_LIMIT: Final = 16_384
"""Bytes; a longer script is not run."""

SCRIPT_TIMEOUT_S: Final = 8
SCRIPT_OUTPUT_LIMIT: Final = 4096
PROBE_INTERVAL_S: Final = 120
"""An unchanged plan is carried out at most this often."""

USUAL_RESOLVERS_V4: Final = ("https://api.ipify.org", "https://ifconfig.co/ip", "https://1.1.1.1/cdn-cgi/trace")
USUAL_RESOLVERS_V6: Final = ("https://api64.ipify.org", "https://ifconfig.co/ip")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressFlags:
    """What the command line says: ``-ip-mode``, ``-public-ip``, ``-public-ip6``, ``-ip-resolvers``, ``-ip-script``."""

    mode: str = "auto"
    public_ip: str = ""
    public_ipv6: str = ""
    resolvers: tuple[str, ...] = ()
    script: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """Addresses to send as they are, resolvers to ask for each family in order, or a script to run.

    ``problems`` are sentences for the log, each to be written once.
    """

    public_ip: str = ""
    public_ipv6: str = ""
    ask_v4: tuple[str, ...] = ()
    ask_v6: tuple[str, ...] = ()
    script: str = ""
    problems: tuple[str, ...] = ()


def plan_addresses(flags: AddressFlags, override: IpConfig | None) -> AddressPlan:
    """The plan for these flags under the server's ``ip_config``, if there is one."""
    wanted = _effective(flags, override)
    match wanted.mode:
        case "static":
            return _static_plan(wanted)
        case "resolver":
            return _resolver_plan(wanted)
        case "script":
            return _script_plan(wanted)
        case _:  # "auto", and every mode of a newer server
            return _auto_plan(wanted)


def script_interpreter(script: str) -> str:
    """``bash`` if the script's first line names it, else ``sh``."""
    return "bash" if "bash" in script.partition("\n")[0] else "sh"


def _effective(flags: AddressFlags, override: IpConfig | None) -> AddressFlags:
    if override is None or not override.mode.strip():
        return flags
    return AddressFlags(
        mode=override.mode.strip(),
        public_ip=override.static_ipv4,
        public_ipv6=override.static_ipv6,
        resolvers=override.resolvers,
        script=override.script,
    )


def _static_plan(wanted: AddressFlags) -> AddressPlan:
    public_ip, problem_v4 = checked_public(wanted.public_ip, 4)
    public_ipv6, problem_v6 = checked_public(wanted.public_ipv6, 6)
    problems = tuple(problem for problem in (problem_v4, problem_v6) if problem)
    return AddressPlan(public_ip=public_ip, public_ipv6=public_ipv6, problems=problems)


def _auto_plan(wanted: AddressFlags) -> AddressPlan:
    static = _static_plan(wanted)
    resolvers, problems = _usable_resolvers(wanted.resolvers)
    return AddressPlan(
        public_ip=static.public_ip,
        public_ipv6=static.public_ipv6,
        ask_v4=() if wanted.public_ip.strip() else resolvers,
        ask_v6=() if wanted.public_ipv6.strip() else resolvers,
        problems=(*static.problems, *problems),
    )


def _resolver_plan(wanted: AddressFlags) -> AddressPlan:
    if not wanted.resolvers:
        return AddressPlan(ask_v4=USUAL_RESOLVERS_V4, ask_v6=USUAL_RESOLVERS_V6)
    resolvers, problems = _usable_resolvers(wanted.resolvers)
    return AddressPlan(ask_v4=resolvers, ask_v6=resolvers, problems=problems)


def _script_plan(wanted: AddressFlags) -> AddressPlan:
    script = wanted.script.strip()
    if not script:
        return AddressPlan(problems=("ip mode script: no script is given, so no public address is sent",))
    if len(script.encode(errors="replace")) > SCRIPT_LIMIT:
        return AddressPlan(problems=(f"ip mode script: the script is longer than {SCRIPT_LIMIT} bytes and is not run",))
    return AddressPlan(script=script)


def checked_public(text: str, family: Family) -> tuple[str, str]:
    """``text`` and "" if the server takes it as public address, else "" and a sentence that says why not."""
    address = text.strip()
    problem = public_address_problem(address, family) if address else ""
    if not problem:
        return address, ""
    return (
        "",
        f"public IPv{family} address {address[:64]!r} {problem}; it is not sent, the control plane would refuse it",
    )


def _usable_resolvers(urls: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    given = tuple(dict.fromkeys(url.strip() for url in urls if url.strip()))
    usable = tuple(url for url in given if _is_web_url(url))
    problems = [
        f"ip resolver number {number} is not an http or https URL; it is not asked"
        for number, url in enumerate(given[:RESOLVERS_LIMIT], start=1)
        if url not in usable
    ]
    if len(usable) > RESOLVERS_LIMIT:
        problems.append(f"{len(usable)} ip resolvers are given; the first {RESOLVERS_LIMIT} are asked")
    return usable[:RESOLVERS_LIMIT], tuple(problems)


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
