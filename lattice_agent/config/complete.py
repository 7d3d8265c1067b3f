"""What the running agent needs beyond valid values: an identity, and credentials out of their files.

Whether a usage URL may be asked is for ``lattice_agent.usage`` to say, which asks it.
"""

import dataclasses
import re
from pathlib import Path
from typing import Final

from lattice_agent.config.golang import quote
from lattice_agent.config.load import Loaded
from lattice_agent.config.settings import AgentSettings, UsageSettings
from lattice_agent.config.trust import read_secret_file
from lattice_agent.errors import ConfigError
from lattice_agent.secret import Secret

_USER_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")  # as lattice_agent.usage has it


def complete(loaded: Loaded) -> Loaded:
    """Settings with the credentials in place of the files that hold them. Raises ConfigError.

    To be called only in the process that has no secret in argv or environment: it opens the token file.
    """
    warnings = list(loaded.warnings)
    agent = _identity(loaded, warnings)
    _check_ids(loaded)
    usage = _usage(loaded, warnings)
    settings = dataclasses.replace(loaded.settings, agent=agent, usage=usage)
    return dataclasses.replace(loaded, settings=settings, warnings=tuple(warnings))


def _identity(loaded: Loaded, warnings: list[str]) -> AgentSettings:
    agent = loaded.settings.agent
    node_id = agent.node_id.strip()
    if not node_id:
        raise ConfigError("the node id is missing", hint="set -node-id or LATTICE_NODE_ID")
    if not node_id.isprintable():
        raise ConfigError(f"{loaded.name('agent.node_id')} holds a control character")
    token = agent.token
    if agent.token_file is not None:
        if token:
            raise ConfigError(
                f"{loaded.name('agent.token')} and {loaded.name('agent.token_file')} are both set", hint="keep one"
            )
        token = _from_file(agent.token_file, "token", warnings)
    if not token:
        raise ConfigError("the node token is missing", hint="set -token-file, LATTICE_NODE_TOKEN or -token")
    _check_header(token, loaded.name("agent.token_file" if agent.token_file else "agent.token"))
    return dataclasses.replace(agent, node_id=node_id, token=token, token_file=None)


def _from_file(path: Path, what: str, warnings: list[str]) -> Secret:
    text, others_can_read = read_secret_file(path, what=what)
    if others_can_read:
        warnings.append(f"{what} file {path} can be read by every user; chmod 0600 it")
    return Secret(text)


def _check_header(credential: Secret, origin: str) -> None:
    """A credential travels in a header line: visible ASCII only, or the request could be split."""
    if not all("!" <= character <= "~" for character in credential.reveal()):
        raise ConfigError(f"{origin} holds a character that a credential cannot have (only visible ASCII is allowed)")


def _check_ids(loaded: Loaded) -> None:
    for word in loaded.settings.usage.ids:
        legal = word.rpartition("=")[2].strip()
        if not _USER_ID.fullmatch(legal):
            raise ConfigError(
                f"{loaded.name('usage.ids')}: {quote(legal)} is no user id of a control plane",
                hint="1 to 128 characters of A-Z a-z 0-9 _ . : -, the first a letter or digit",
            )


def _usage(loaded: Loaded, warnings: list[str]) -> UsageSettings:
    usage = loaded.settings.usage
    for key, value in (("usage.secret", usage.secret), ("usage.secret_file", usage.secret_file)):
        if value and not usage.url:
            raise ConfigError(f"{loaded.name(key)} is set without a usage URL", hint="set -proxy-usage-url, or drop it")
    if usage.secret_file is None:
        return usage
    if usage.secret:
        raise ConfigError(
            f"{loaded.name('usage.secret')} and {loaded.name('usage.secret_file')} are both set", hint="keep one"
        )
    secret = _from_file(usage.secret_file, "usage secret", warnings)
    return dataclasses.replace(usage, secret=secret, secret_file=None)
