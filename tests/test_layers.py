"""The house: which room may import which (docs/architecture.md). A new import across rooms is a decision, made here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Room -> rooms it may import besides itself. A room is a folder or a module directly under a package.
LAYERS: dict[str, set[str]] = {
    "lattice_agent.errors": set(),
    "lattice_agent.secret": set(),
    "lattice_agent.complaints": set(),
    "lattice_agent.threads": set(),
    "lattice_agent.wire": {"errors"},
    "lattice_agent.config": {"errors", "secret"},
    "lattice_agent.logs": {"secret"},
    "lattice_agent.state": {"errors"},
    "lattice_agent.link": {"errors", "secret", "threads", "wire"},
    "lattice_agent.exec": {"errors"},
    "lattice_agent.facts": {"errors", "wire"},
    "lattice_agent.usage": {"errors", "secret", "wire"},
    "lattice_agent.nft": {"errors"},
    "lattice_agent.audit": {"errors"},
    "lattice_agent.supervisor": {"errors"},
    "lattice_agent.report": {"errors", "complaints", "link", "facts", "usage", "state", "wire"},
    "lattice_agent.tasks": {"errors", "complaints", "link", "exec", "state", "wire", "audit"},
    "lattice_agent.lifecycle": {"errors", "supervisor", "tasks"},
    "lattice_agent.policy_summary": {"exec", "wire"},
    "lattice_agent.execution": {"config", "exec", "policy_summary", "report", "wire"},
    "lattice_agent.probing": {"exec", "execution", "link"},
    "lattice_agent.usage_sources": {"config", "usage"},
    "lattice_agent.footprint": set(),
    "lattice_agent.app": {
        "usage_sources", "footprint",
        "execution", "probing", "errors", "secret", "config", "state", "link", "exec", "facts", "usage", "report",
        "tasks",
        "audit", "supervisor", "lifecycle", "wire", "threads",
    },
    "lattice_agent.cli": {"errors", "secret", "config", "logs", "link", "nft", "exec", "facts", "wire", "app",
        "usage_sources", "usage", "state"},
    "lattice_agent.__main__": {"cli"},
}  # fmt: skip

PURE = (
    "exec/local_policy.py", "exec/host_state.py", "exec/level_choice.py", "exec/script_header.py",
    "exec/policy_file.py", "exec/policy_values.py", "exec/policy.py", "exec/plan.py", "exec/pool.py",
    "exec/dispatch.py", "exec/syscalls.py", "exec/outcome.py", "exec/id_range.py",
    "tasks/decide.py", "tasks/shape.py", "tasks/outcomes.py", "tasks/cancels.py", "tasks/live_output.py",
    "policy_summary.py",
    "facts/inventory/changes.py", "facts/detail/counters.py", "facts/rates.py",
    "usage/normalise.py", "usage/ledger.py", "usage/billing.py", "usage/ledger_account.py", "usage/messages.py",
    "usage/statistics.py", "usage/idle_core.py", "usage/protobuf.py", "usage/stats_messages.py",
    "usage/grpc_answer.py", "usage/loopback.py",
    "facts/addresses.py", "facts/address_plan.py", "link/transport_policy.py",
)  # fmt: skip
IMPURE_MODULES = {"trio", "socket", "time", "os", "subprocess", "sqlite3", "httpx", "random", "pathlib", "asyncio"}
# os is imported by outcome for WIFSIGNALED and its kin, which are functions of a number.
PURE_EXCEPTIONS = {"exec/outcome.py": {"os"}}

PRIVILEGED = (
    "exec/spawner.py", "exec/host_run.py", "exec/requests.py", "exec/script.py", "exec/sweep.py", "exec/blueprint.py",
    "exec/cell.py", "exec/cell_steps.py", "exec/cells.py", "exec/filter_source.py", "exec/memory_watch.py",
    "exec/cell_processes.py", "exec/open_files.py", "exec/priority.py", "exec/step.py", "exec/template.py",
    "exec/id_mapping.py", "exec/id_range.py", "exec/inside_look.py",
)  # fmt: skip
PRIVILEGED_ALLOWED = {
    "__future__", "os", "sys", "signal", "socket", "select", "struct", "errno", "time", "gc", "resource", "array",
    "ctypes", "fcntl", "stat", "pwd", "collections", "typing", "enum", "prctl", "lattice_agent", "contextlib",
    "functools",
}  # fmt: skip

PACKAGES = {"starlette", "uvicorn", "fastapi", "server_stub", "uvloop", "httptools", "wsproto", "websockets"}


def modules(package: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield path, ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            # "from lattice_agent import audit" imports a room, not a name of the package
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "lattice_agent" else {module}
    return found


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize(("path", "module"), [*modules("lattice_agent")], ids=lambda v: v if isinstance(v, str) else "")
def test_agent_modules_stay_in_their_layer(path: Path, module: str) -> None:
    if module == "lattice_agent":
        assert imports(path) == set()
        return
    allowed = LAYERS[room(module)]
    for name in imports(path):
        if name.startswith("lattice_agent.") and room(name) != room(module):
            target = room(name).removeprefix("lattice_agent.")
            assert target in allowed or target in ("__version__",), f"{module} imports {name}"


@pytest.mark.parametrize(("path", "module"), [*modules("server_stub")], ids=lambda v: v if isinstance(v, str) else "")
def test_the_server_knows_only_the_wire(path: Path, module: str) -> None:
    for name in imports(path):
        if name.startswith("lattice_agent"):
            assert room(name) in ("lattice_agent.wire", "lattice_agent.errors", "lattice_agent.__version__"), (
                f"{module} imports {name}"
            )


def test_the_agent_imports_no_server_package() -> None:
    for path, module in modules("lattice_agent"):
        assert not {name.split(".")[0] for name in imports(path)} & PACKAGES, module


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_input_or_output(name: str) -> None:
    path = ROOT / "lattice_agent" / name
    used = {module.split(".")[0] for module in imports(path)} & IMPURE_MODULES
    assert used <= PURE_EXCEPTIONS.get(name, set())


def test_server_rules_are_pure() -> None:
    for path, module in modules("server_stub"):
        if module.startswith("server_stub.rules"):
            assert not {name.split(".")[0] for name in imports(path)} & IMPURE_MODULES, module


def test_privileged_modules_use_the_standard_library_only() -> None:
    kernel = [path for path, module in modules("lattice_agent") if ".exec.kernel" in module]
    for path in [*(ROOT / "lattice_agent" / name for name in PRIVILEGED), *kernel]:
        foreign = {name.split(".")[0] for name in imports(path)} - PRIVILEGED_ALLOWED
        assert not foreign, f"{path.name}: {foreign}"
        for name in imports(path):
            if name.startswith("lattice_agent"):
                assert room(name) in ("lattice_agent.exec", "lattice_agent.errors"), f"{path.name} imports {name}"
