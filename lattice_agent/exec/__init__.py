"""The sandbox: runs one script in a prepared, confined cell. Usable without the rest of the agent.

``open_sandbox`` is the trio face, ``SandboxClient`` the synchronous one. Imports nothing of the agent but ``errors``.
Names are looked up on first use: the spawner, which lives in this package too, must not load trio.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost the spawner memory
    from lattice_agent.exec.client import SandboxClient
    from lattice_agent.exec.outcome import Clock, Kind, Outcome
    from lattice_agent.exec.plan import Level, Limits, Profile
    from lattice_agent.exec.sandbox import Sandbox, open_sandbox

__all__ = ["Clock", "Kind", "Level", "Limits", "Outcome", "Profile", "Sandbox", "SandboxClient", "open_sandbox"]

_HOMES = {
    "Clock": "outcome",
    "Kind": "outcome",
    "Level": "plan",
    "Limits": "plan",
    "Outcome": "outcome",
    "Profile": "plan",
    "Sandbox": "sandbox",
    "SandboxClient": "client",
    "open_sandbox": "sandbox",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
