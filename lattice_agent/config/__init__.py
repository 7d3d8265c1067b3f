"""Settings of the agent; the only reader of flags, environment and TOML files."""

from lattice_agent.config.complete import complete
from lattice_agent.config.file import read_policy
from lattice_agent.config.load import Loaded, load
from lattice_agent.config.settings import (
    AddressSettings,
    AgentSettings,
    ControlPlaneSettings,
    ExecSettings,
    LogSettings,
    ReportSettings,
    Settings,
    StateSettings,
    UsageSettings,
)
from lattice_agent.config.trust import read_trusted_file

__all__ = [
    "AddressSettings",
    "AgentSettings",
    "ControlPlaneSettings",
    "ExecSettings",
    "Loaded",
    "LogSettings",
    "ReportSettings",
    "Settings",
    "StateSettings",
    "UsageSettings",
    "complete",
    "load",
    "read_policy",
    "read_trusted_file",
]
