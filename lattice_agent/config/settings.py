"""The agent's settings: one frozen class per component, each field declared once with its meaning.

Names of fields carry their unit (``_s`` seconds). The section of the TOML file is the field's name in ``Settings``:
``[report]`` ``interval_s = 10``. Flags and variables without a comment are the Go agent's (protocol reference,
section 6) and keep its defaults.
"""
# ruff: noqa: RUF009 - the makers in config.options return dataclass fields, which is what a default may be

import dataclasses
from pathlib import Path

from lattice_agent.config.options import Trust, derived_path, integer, path, seconds, secret, switch, table, text, words
from lattice_agent.secret import Secret

DEFAULT_BASE_URL = "http://127.0.0.1:8088"
MIN_PERIOD_S = 0.1  # a shorter loop only trips the server's limit of 10 requests a second
MAX_PERIOD_S = 86400.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Who this agent is."""

    node_id: str = text(
        "The node's id, as enrolled at the control plane; required.", flag="node-id", env="LATTICE_NODE_ID"
    )
    token: Secret = secret("The node's token; required, here or in token_file.", flag="token", env="LATTICE_NODE_TOKEN")
    token_file: Path | None = path(
        "File that holds the node's token alone (at most 4096 bytes); keeps it out of argv and environment.",
        flag="token-file",
        env="LATTICE_NODE_TOKEN_FILE",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExecSettings:
    """Whether and how scripts run. The local policy file can narrow this further."""

    allow_exec: bool = switch(
        "Run tasks of the control plane.", flag="allow-exec", env="LATTICE_AGENT_ALLOW_EXEC", trust=Trust.ROOT
    )
    allow_root_exec: bool = switch(
        "Run tasks although the agent is root.",
        flag="allow-root-exec",
        env="LATTICE_AGENT_ALLOW_ROOT_EXEC",
        trust=Trust.ROOT,
    )
    no_exec: bool = switch("Kill switch: run nothing, whatever else is set.", flag="no-exec", env="LATTICE_NO_EXEC")
    work_root: Path | None = path(
        "Directory in which work directories of tasks are made; unset: the system's temporary directory.",
        flag="task-work-root",
        env="LATTICE_TASK_WORK_ROOT",
        trust=Trust.OWNER,
    )
    slots: int = integer("Tasks that run at once.", flag="slots", env="LATTICE_SLOTS", default=2, low=1, high=64)
    policy_path: Path | None = path(
        "Local policy (TOML): what the node's owner allows.", flag="policy", env="LATTICE_POLICY", trust=Trust.ROOT
    )
    min_level: str = text(
        "Weakest level a task gets without a grant: strict, network, landlock or host; of this and the policy file's "
        "the stricter holds. With neither: strict, or host for a root agent with the opt-in and no policy file.",
        flag="min-level",
        env="LATTICE_MIN_LEVEL",
        trust=Trust.ROOT,
    )
    drain_s: float = seconds(
        "How long running tasks may go on after SIGTERM before they are ended as interrupted.",
        flag="drain-time",
        env="LATTICE_DRAIN_TIME",
        default=5.0,
        low=0.0,
        high=3600.0,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneSettings:
    """Where the control plane is and which way to it is allowed; ``lattice_agent.link`` judges the values."""

    base_url: str = text(
        "Base URL of the control plane; a path prefix is kept, trailing slashes are removed.",
        flag="server",
        env="LATTICE_SERVER",
        default=DEFAULT_BASE_URL,
        trust=Trust.OWNER,
    )
    allow_insecure_http: bool = switch(
        "Allow http:// to a host that is not loopback: the token travels in the clear.",
        flag="allow-insecure-http",
        env="LATTICE_ALLOW_INSECURE_HTTP",
        trust=Trust.ROOT,
    )
    ca_file: Path | None = path(
        "Certificates (PEM) to trust instead of the system's.",
        flag="ca-file",
        env="LATTICE_CA_FILE",
        trust=Trust.OWNER,
    )
    pins: tuple[str, ...] = words(
        "Public keys the control plane may show: base64 SHA-256 of the SubjectPublicKeyInfo; unset: any trusted one.",
        flag="pin-sha256",
        env="LATTICE_PIN_SHA256",
        trust=Trust.OWNER,
        repeat=True,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """How often the agent speaks."""

    interval_s: float = seconds(
        "Time between heartbeats; the control plane shows a node as offline after 90 s without one.",
        flag="interval",
        default=10.0,
        low=MIN_PERIOD_S,
        high=MAX_PERIOD_S,
    )
    poll_idle_s: float = seconds(
        "Time between two questions for work while there was none in the last minute; while the control stream is open"
        " it is twelve times that, at most 60 s or this if it is longer.",
        flag="poll-interval",
        env="LATTICE_POLL_INTERVAL",
        default=5.0,
        low=MIN_PERIOD_S,
        high=MAX_PERIOD_S,
    )
    poll_busy_s: float = seconds(
        "Time between two questions for work while there was some in the last minute, without an open control stream.",
        flag="poll-interval-busy",
        env="LATTICE_POLL_INTERVAL_BUSY",
        default=1.0,
        low=MIN_PERIOD_S,
        high=MAX_PERIOD_S,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AddressSettings:
    """What the agent says about its own addresses. One that the control plane would refuse is left out, never fatal."""

    public_ip4: str = text("Static public IPv4 address.", flag="public-ip", env="LATTICE_PUBLIC_IP")
    public_ip6: str = text("Static public IPv6 address.", flag="public-ip6", env="LATTICE_PUBLIC_IP6")
    mode: str = text(
        "auto, static, resolver or script; anything else acts like auto.",
        flag="ip-mode",
        env="LATTICE_IP_MODE",
        default="auto",
    )
    resolvers: tuple[str, ...] = words(
        "URLs that answer with the caller's address; without any, no third party is asked.",
        flag="ip-resolvers",
        env="LATTICE_IP_RESOLVERS",
    )
    script: str = text(
        "Script that prints the public addresses; runs under the same rules as a task.",
        flag="ip-script",
        env="LATTICE_IP_SCRIPT",
        trust=Trust.OWNER,
    )
    wg_ip: str = text("WireGuard address to report, IP or CIDR.", flag="wg-ip", env="LATTICE_WG_IP")
    wg_pubkey: str = text("WireGuard public key to report.", flag="wg-pubkey", env="LATTICE_WG_PUBKEY")
    wg_endpoint: str = text("WireGuard endpoint to report, host:port.", flag="wg-endpoint", env="LATTICE_WG_ENDPOINT")
    wg_port: int = integer(
        "WireGuard port to report; 0 and anything above 65535: none.",
        flag="wg-port",
        env="LATTICE_WG_PORT",
        default=0,
        bad_env_is_default=True,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FactsSettings:
    """What the agent counts of the host."""

    interfaces: tuple[str, ...] = words(
        "Interfaces whose traffic counts, exactly these (names or patterns such as eth*); unset: the physical ones.",
        flag="facts-interfaces",
        env="LATTICE_FACTS_INTERFACES",
    )
    exclude_interfaces: tuple[str, ...] = words(
        "Interfaces whose traffic never counts.",
        flag="facts-exclude-interfaces",
        env="LATTICE_FACTS_EXCLUDE_INTERFACES",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageSettings:
    """Where the proxy's traffic counters come from. With several sources a user's bytes are the sum."""

    file: Path | None = path(
        "JSON snapshot to report as proxy usage.", flag="proxy-usage-file", env="LATTICE_PROXY_USAGE_FILE"
    )
    url: str = text(
        "Loopback http(s) URL that answers with a usage snapshot.",
        flag="proxy-usage-url",
        env="LATTICE_PROXY_USAGE_URL",
    )
    secret: Secret = secret(
        "Bearer secret for the usage URL.", flag="proxy-usage-secret", env="LATTICE_PROXY_USAGE_SECRET"
    )
    secret_file: Path | None = path(
        "File that holds the usage URL's secret alone (at most 4096 bytes).",
        flag="proxy-usage-secret-file",
        env="LATTICE_PROXY_USAGE_SECRET_FILE",
    )
    xray_api: tuple[str, ...] = words(
        "Statistics APIs of xray or v2ray cores, loopback host:port each, asked over gRPC.",
        flag="proxy-usage-xray-api",
        env="LATTICE_PROXY_USAGE_XRAY_API",
    )
    xray_bin: str = text(
        "Program that is run instead of asking xray_api directly; xray, the Go agent's default, asks directly.",
        flag="proxy-usage-xray-bin",
        env="LATTICE_PROXY_USAGE_XRAY_BIN",
        default="xray",
    )
    xray_pattern: str = text(
        "Pattern that the program is given; without it user>>>.",
        flag="proxy-usage-xray-pattern",
        env="LATTICE_PROXY_USAGE_XRAY_PATTERN",
        default="user>>>",
    )
    singbox_stats_api: tuple[str, ...] = words(
        "Statistics APIs of sing-box cores, loopback host:port each, asked over gRPC.",
        flag="singbox-stats-api",
        env="LATTICE_SINGBOX_STATS_API",
    )
    ids: tuple[str, ...] = table(
        "Names for users whose label in the core the control plane would refuse: alice@example=alice.",
        flag="proxy-usage-ids",
        env="LATTICE_PROXY_USAGE_IDS",
    )
    read_interval_s: float = seconds(
        "Time between two readings of a source; what a core counts between the last one and its death is lost.",
        flag="proxy-usage-read-interval",
        env="LATTICE_PROXY_USAGE_READ_INTERVAL",
        default=2.0,
        low=MIN_PERIOD_S,
        high=MAX_PERIOD_S,
    )
    file_max_age_s: float = seconds(
        "Time after which a usage file that nobody writes is an error; 0: 5 min with a core uptime in it, else never.",
        flag="proxy-usage-file-max-age",
        env="LATTICE_PROXY_USAGE_FILE_MAX_AGE",
        default=0.0,
        low=0.0,
        high=MAX_PERIOD_S,
    )
    timeout_s: float = seconds(
        "Time allowed for one collection; 0 means 3 s.",
        flag="proxy-usage-timeout",
        env="LATTICE_PROXY_USAGE_TIMEOUT",
        default=3.0,
        low=0.0,
        high=3600.0,
        bad_env_is_default=True,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """What the agent keeps on disk."""

    dir: Path = derived_path(
        "State directory. Unset: the first of systemd's STATE_DIRECTORY; as an ordinary user "
        "$XDG_STATE_HOME/lattice-agent or ~/.local/state/lattice-agent; /var/lib/lattice-agent.",
        flag="state-dir",
        env="LATTICE_STATE_DIR",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What the agent says about itself on stderr."""

    debug: bool = switch("Log every step.", flag="debug", env="LATTICE_AGENT_DEBUG")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything ``lattice_agent.app`` needs to build the agent."""

    agent: AgentSettings
    exec: ExecSettings
    control_plane: ControlPlaneSettings
    report: ReportSettings
    addresses: AddressSettings
    facts: FactsSettings
    usage: UsageSettings
    state: StateSettings
    log: LogSettings


SECTIONS: dict[str, type] = {
    "agent": AgentSettings,
    "exec": ExecSettings,
    "control_plane": ControlPlaneSettings,
    "report": ReportSettings,
    "addresses": AddressSettings,
    "facts": FactsSettings,
    "usage": UsageSettings,
    "state": StateSettings,
    "log": LogSettings,
}
