"""The exception tree of the agent, grouped by who has to act.

Naming: a class ends in ``Error``. The message says what is wrong and names the field or path and the value
(never a secret); ``hint()`` says what a human does next; ``exit_code`` is the sysexits(3) code a command ends
with when the error reaches the top. The library raises; only the command line prints.
"""

import os


class LatticeError(Exception):
    """Base of everything the agent raises on purpose.

    >>> LatticeError("interval is -1", hint="set -interval to a duration above 0").hint()
    'set -interval to a duration above 0'
    """

    exit_code = os.EX_SOFTWARE
    default_hint = "this is a fault of the agent; please report it with the log"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self._hint = hint

    def hint(self) -> str:
        """The next step for a human, one sentence without a full stop."""
        return self._hint if self._hint is not None else self.default_hint


# --- the operator of the node has to act -----------------------------------------------------------------


class UsageError(LatticeError):
    """The command line is wrong (sysexits EX_USAGE; the Go agent's flags keep exit 2, see cli.goflags)."""

    exit_code = os.EX_USAGE
    default_hint = "see lattice-agent -h"


class ConfigError(LatticeError):
    """A setting from flag, environment or file is wrong; the message names it and its value."""

    exit_code = os.EX_CONFIG
    default_hint = "correct the setting and start again"


class PolicyError(ConfigError):
    """The local policy file cannot be trusted or understood."""

    default_hint = "correct the policy file; nothing runs until it is valid"


class TransportRefusedError(ConfigError):
    """The configured way to the control plane would send the token in the clear."""

    default_hint = "use an https:// URL, or -allow-insecure-http if the network in between is trusted"


class StateError(LatticeError):
    """The state directory or state.db cannot be used."""

    exit_code = os.EX_IOERR
    default_hint = "check that the state directory exists, is writable and has free space"


class StateLockedError(StateError):
    """Another agent holds the state directory."""

    exit_code = os.EX_TEMPFAIL
    default_hint = "stop the other lattice-agent, or give this one its own --state-dir"


# --- the control plane or the network has to change --------------------------------------------------------


class LinkError(LatticeError):
    """An exchange with the control plane did not give a usable answer."""

    exit_code = os.EX_UNAVAILABLE
    default_hint = "check that the control plane is reachable; the agent goes on trying"


# --- the sandbox failed (never: the script failed) -----------------------------------------------------------


class SandboxError(LatticeError):
    """We could not start or supervise a script. A script that ends badly is an Outcome, not an error."""

    exit_code = os.EX_OSERR
    default_hint = "see the agent's log for the step that failed"


class SpawnerGoneError(SandboxError):
    """The spawner process ended; what it was running is interrupted."""


class PrivilegesGoneError(SpawnerGoneError):
    """The spawner ended, and this process cannot start one with the privileges that it had."""

    default_hint = "let the service manager restart the agent (Restart=always): it starts both"


# --- a local source of facts or usage failed -----------------------------------------------------------------


class FactsError(LatticeError):
    """A source of facts is missing or broken; the field stays empty."""


class UsageSourceError(LatticeError):
    """A proxy usage source could not be read or understood; reported as collector_status error."""

    default_hint = "check the proxy core's statistics settings"


class NftError(LatticeError):
    """A named-set update was refused or failed."""

    exit_code = 1
    default_hint = "nothing was changed; check the set with nft list set"


class ServiceFailedError(LatticeError):
    """A service of the agent keeps crashing."""

    exit_code = os.EX_UNAVAILABLE
