"""``agent_runtime``: what the agent is allowed and able to do (protocol reference 4.3)."""

from typing import Annotated, Final

from lattice_agent.wire.base import OMIT, Items, Time, WireModel

FEATURES_KEPT: Final = 16
"""The server keeps the first 16 distinct features; more would be dropped silently."""


class AgentRuntime(WireModel):
    """The effective switches and the sandbox level really in force."""

    allow_exec: bool = False
    allow_root_exec: bool = False
    no_exec: bool = False
    allow_terminal: bool = False
    terminal_transport: str = ""
    task_sandbox: Annotated[str, OMIT] = ""
    task_sandbox_features: Annotated[Items[str], OMIT] = ()
    task_sandbox_warning: Annotated[str, OMIT] = ""
    ssh_alerts: bool = False
    singbox_discover: bool = False
    singbox_bin: Annotated[str, OMIT] = ""
    proxy_usage_file: Annotated[str, OMIT] = ""
    proxy_usage_url: Annotated[str, OMIT] = ""
    proxy_usage_xray_api: Annotated[str, OMIT] = ""
    proxy_usage_xray_bin: Annotated[str, OMIT] = ""
    proxy_usage_xray_pattern: Annotated[str, OMIT] = ""
    singbox_stats_api: Annotated[str, OMIT] = ""
    reported_at: Time = None
