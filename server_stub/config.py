"""Settings of ``lattice-control serve``: frozen values, checked when they are made."""

from dataclasses import dataclass, field

from server_stub.errors import SettingsError


@dataclass(frozen=True)
class Limits:
    """Bounds of the control plane. What happens at each is said beside it."""

    node_rate: float = 50.0
    """Requests a second of one authenticated node; above it 429."""
    node_burst: int = 100
    address_rate: float = 10.0
    """Requests a second of one address without a valid token; above it 429."""
    address_burst: int = 40
    rate_keys: int = 10_000
    """Nodes and addresses whose rate is remembered; the one unseen for longest is forgotten and starts anew."""
    attempt_limit: int = 5
    """Leases of one task for one node; when the last one has died without a result the task is lost there."""
    nodes: int = 10_000
    """Registered nodes; one more is refused with 409."""
    users: int = 50_000
    """Proxy users; one more is refused with 409."""
    operators: int = 1_000
    """Operators, revoked ones included; one more is refused with 409."""
    open_tasks: int = 10_000
    """Tasks that have not ended; one more is refused with 409."""
    ended_targets: int = 5_000
    """Ended tasks are kept, newest first, until their targets exceed this; older ones go with their results."""
    audit_events: int = 100_000
    """Audit events kept of each origin (operators and server, agents); the oldest go first."""
    waiters: int = 256
    """Requests that wait for a task's end; one more is answered at once with the present state."""
    login_address_rate: float = 1 / 6
    """Sign-ins to the web page a second from one address; above it 429."""
    login_address_burst: int = 10
    login_name_rate: float = 1 / 10
    """Sign-ins a second under one name from anywhere; above it 429, also for the operator who has the name."""
    login_name_burst: int = 20
    viewers: int = 256
    """Open event streams of operators; one more is answered 429."""
    live_output_bytes: int = 64 * 2**20
    """Live output of all runs together; beyond it that of the run that was quiet for longest is let go."""
    frame_rate: float = 200.0
    """Frames a second on the control streams of one node; above it they are read that much slower."""
    frame_burst: int = 400
    stream_rate: float = 100.0
    """Control streams opened a second, all nodes together; above it 429 with the time to come again."""
    stream_burst: int = 100
    node_stream_rate: float = 0.5
    """Control streams that one node opens a second; above it 429. An agent that loses each at once stays below it."""
    node_stream_burst: int = 20
    control_streams: int = 12_000
    """Open control WebSockets, one for each node that may be registered and some that are about to end; one more is
    answered 429."""
    control_streams_per_node: int = 8


@dataclass(frozen=True)
class Settings:
    """Everything ``serve`` needs. Paths are file-system paths; ``:memory:`` as ``db_path`` keeps nothing."""

    db_path: str
    host: str = "127.0.0.1"
    port: int = 8088
    """0 lets the kernel choose; the choice is announced."""
    tls_cert: str | None = None
    """PEM file of the certificate chain; with ``tls_key`` the server speaks TLS."""
    tls_key: str | None = None
    insecure_listen: bool = False
    """Allows cleartext on an address that is not loopback."""
    kill_switch: bool = False
    """Starts with task execution disabled for the whole fleet; otherwise the stored state holds."""
    init_token_file: str | None = None
    """Where the first operator token is written if there is no operator yet (mode 0600)."""
    ready_file: str | None = None
    """Where the URL is written once the server accepts connections."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.db_path:
            raise SettingsError("db path is empty", hint="name a file, or :memory: to keep nothing")
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port is {self.port}", hint="set a port between 0 and 65535")
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls key" if self.tls_key is None else "tls certificate"
            raise SettingsError(f"{missing} is missing", hint="give certificate and key together")

    @property
    def tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.tls_cert is not None
