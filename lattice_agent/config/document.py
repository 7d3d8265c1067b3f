"""docs/configuration.md, made from the declarations.

``python -m lattice_agent.config.document > docs/configuration.md``
"""

import sys
from collections.abc import Iterator
from typing import Final

from lattice_agent.config.options import Kind, Option, Trust
from lattice_agent.config.table import CONFIG, OPTIONS, shown_default
from lattice_agent.config.unbuilt import UNBUILT

_HEAD: Final = """\
# Configuration

<!-- Made by `python -m lattice_agent.config.document`; a test compares them. -->

A setting comes from a flag, an environment variable, or a TOML file named by `--config` (`LATTICE_CONFIG`). Flags win
over the environment, the environment over the file. `-x` and `--x` are the same.

**Flags** follow the Go agent: `-x v` or `-x=v`; booleans `-x` or `-x=false`. Durations are Go's (`1m30s`, `300ms`).
A list is separated by commas. Words after the flags are ignored, with a warning. What does not parse ends with exit
code 2.

**Variables**: an empty one counts as not set. A boolean is on only if the variable is exactly `1`; `0` and `false`
switch off what the file switched on; any other word counts as not set, with a warning.

**File**: the part of a setting's name before the dot is its section. Durations are numbers of seconds, lists are arrays
of texts. An unknown key is an error that names the nearest one. A wrong value ends with exit code 78 (the Go agent: 1)
and one line that names the setting.

```toml
[agent]
node_id = "node-1"
token_file = "/etc/lattice-agent/token"

[control_plane]
base_url = "https://control.example"

[report]
interval_s = 10
```

**Trust**: who can write the file decides what it may set. *root* in the table: only a file that is owned by root and
writable by nobody else may set it. *owner*: a file that only root or the agent's own user can write. Flags and
variables may set everything. Keep the token in a file that only root and the agent's user can read (mode 0600).

At start the agent executes itself again, once, with a clean argv and environment: what stood there cannot be read from
`/proc` afterwards. The agent must be importable by `python -I` (a virtual environment or a system package, not
`pip install --user`). A file with the token stays readable to everything that runs under the same user. The proxy
variables (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.

## Settings
"""

_UNBUILT_HEAD: Final = """
## Accepted without effect

Flags of the Go agent whose feature is not built. Set to something else than the Go agent's default, each is warned
about once at start; the feature is reported as off.

| flag | variable | feature |
| --- | --- | --- |
"""

_ONE_SHOT: Final = """
## One-shot modes

The first of these flags that is given wins, in this order. None of them needs a node id or token.

| flag | what it does | exit code |
| --- | --- | --- |
| `-version` | prints the version | 0 |
| `-compat-json` | prints which servers the protocol was made for | 0 |
| `-update-nft-domain-set` | resolves `-host` and replaces the content of `-set` (IPv4) and `-set6` (IPv6) in table `-table` of `-family` (`inet`) in one nft transaction; a family without an address leaves its set as it is, or with `-allow-empty` empties it | 0, or 1 with nothing changed |
| `-selfcheck-controlplane` | asks `-server` for `/api/health` without credentials, within 30 s; cleartext rule, CA file, pins and proxies as for the agent; redirects are not followed | 0 for status 200, else 1 |
"""  # noqa: E501 - rows of a Markdown table cannot be broken

_TRUST_WORDS: Final = {Trust.ANYONE: "", Trust.OWNER: "owner", Trust.ROOT: "root"}


def render() -> str:
    """The whole page."""
    return "".join((_HEAD, *_sections(), _ONE_SHOT, _UNBUILT_HEAD, *_unbuilt()))


def _sections() -> Iterator[str]:
    yield "\n| setting | flag | variable | default | trust | meaning |\n| --- | --- | --- | --- | --- | --- |\n"
    yield _row("(the file)", CONFIG, "")
    for key, option in OPTIONS.items():
        yield _row(f"`{key}`", option, shown_default(key))


def _row(name: str, option: Option, default: str) -> str:
    cells = (
        name,
        f"`-{option.flag}`",
        f"`{option.env}`" if option.env else "",
        default or ("off" if option.kind is Kind.SWITCH else ""),
        _TRUST_WORDS[option.trust],
        option.doc + _range(option),
    )
    return f"| {' | '.join(cells)} |\n"


def _range(option: Option) -> str:
    if option.low is None or option.high is None:
        return ""
    return f" From {option.low:g} to {option.high:g}{' s' if option.kind is Kind.SECONDS else ''}."


def _unbuilt() -> Iterator[str]:
    for unbuilt in UNBUILT:
        yield f"| `-{unbuilt.flag}` | `{unbuilt.env}` | {unbuilt.feature} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
