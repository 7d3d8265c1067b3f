"""The TOML files: the configuration, which keys it may hold and which it is trusted to hold; and the local policy."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from lattice_agent.config.golang import quote
from lattice_agent.config.options import Kind, Option, Trust
from lattice_agent.config.sources import Plain, from_toml
from lattice_agent.config.trust import MAX_FILE_BYTES, CheckedFile, read_file, read_trusted_file
from lattice_agent.errors import ConfigError, PolicyError

_TRUST_WORDS = {
    Trust.ROOT: "only a file that is owned by root and not writable by group or others",
    Trust.OWNER: "only a file that nobody but root and the agent's user can write",
}


@dataclasses.dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file sets: dotted key to value and origin."""

    values: Mapping[str, tuple[Plain, str]]
    warnings: tuple[str, ...] = ()


NO_FILE = ConfigFile({})


def read_config_file(path: Path, options: Mapping[str, Option], *, euid: int) -> ConfigFile:
    """Reads and checks the file. ``options`` are all that exist, by dotted key. Raises ConfigError."""
    checked = read_file(path, limit=MAX_FILE_BYTES, euid=euid)
    values: dict[str, tuple[Plain, str]] = {}
    for key, value in _flatten(parse_toml(checked.content, path)).items():
        origin = f"{key} in {path}"
        option = options.get(key)
        if option is None:
            raise ConfigError(
                f"unknown key {origin}; the nearest is {_nearest(key, options)}", hint="see docs/configuration.md"
            )
        _check_trust(option, key, path, checked)
        values[key] = (from_toml(option, value, origin), origin)
    return ConfigFile(values, _warnings(values, options, path, checked))


def parse_toml(content: bytes, path: Path) -> dict[str, object]:
    """The document as plain values. Raises ConfigError with the line and no content: it may be secret."""
    import tomllib  # 10 ms, and most agents have no file

    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    except ValueError as error:  # TOMLDecodeError, and int()'s own refusal of thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply") from None


def read_policy(path: Path) -> dict[str, object]:
    """The local policy's document, if only root can have written it. Raises PolicyError."""
    try:
        return parse_toml(read_trusted_file(path), path)
    except PolicyError:
        raise
    except ConfigError as error:
        raise PolicyError(f"policy {error}") from None


def _flatten(document: dict[str, object]) -> dict[str, object]:
    """Dotted keys of the sections. A key outside a section keeps its bare name, and is thereby unknown."""
    flat: dict[str, object] = {}
    for section, content in document.items():
        if isinstance(content, dict):
            flat.update({f"{section}.{key}": value for key, value in content.items()})
        else:
            flat[section] = content
    return flat


def _nearest(key: str, options: Mapping[str, Option]) -> str:
    import difflib  # only for this message

    return difflib.get_close_matches(key, options, n=1, cutoff=0.0)[0]


def _check_trust(option: Option, key: str, path: Path, checked: CheckedFile) -> None:
    if checked.trust >= option.trust:
        return
    raise ConfigError(
        f"{path} may not set {key}: {checked.distrust}, and {_TRUST_WORDS[option.trust]} may set it",
        hint=f"set it with -{option.flag} or {option.env}, or mend the file's owner and mode",
    )


def _warnings(
    values: Mapping[str, object], options: Mapping[str, Option], path: Path, checked: CheckedFile
) -> tuple[str, ...]:
    secrets = [key for key in values if options[key].kind is Kind.SECRET]
    if not secrets or not checked.others_can_read:
        return ()
    return (f"{quote(str(path))} holds {', '.join(secrets)} and can be read by every user; chmod 0600 it",)
