"""The few lines that one reads first about a node. What it reported may lack anything, and be of any length."""

from collections.abc import Mapping
from typing import Any

from server_stub.dashboard.show import UNKNOWN, count
from server_stub.readable import duration, size
from server_stub.store.records import Node

Lines = tuple[tuple[str, str], ...]
_UNBOUNDED = "not bounded by policy"


def machine(node: Node) -> Lines:
    """From its host facts."""
    facts = node.presence.host_facts or {}
    system = (_text(facts, "platform"), _text(facts, "platform_version"), _text(facts, "arch"))
    cores, memory = _number(facts, "cpu_cores"), _number(facts, "memory_total")
    processor = (_text(facts, "cpu_model"), count(cores, "core") if cores else "")
    return (
        ("Host", _text(facts, "hostname") or UNKNOWN),
        ("System", " ".join(filter(None, system)) or UNKNOWN),
        ("Kernel", _text(facts, "kernel_version") or UNKNOWN),
        ("Processor", ", ".join(filter(None, processor)) or UNKNOWN),
        ("Memory", size(memory) if memory else UNKNOWN),
        ("Virtualization", _text(facts, "virtualization") or UNKNOWN),
        ("Agent", node.presence.agent_version or UNKNOWN),
    )


def protections(node: Node) -> str:
    """What is in force around a task, in the agent's words."""
    return ", ".join(_texts(node.presence.agent_runtime or {}, "task_sandbox_features")) or "none reported"


def policy(node: Node) -> Lines:
    """From the summary of its policy; nothing if there is none."""
    told = node.presence.policy
    if told is None:
        return ()
    default = _text(told, "default_level")
    levels = ", ".join(_texts(told, "levels")) or "none"
    timeout = _number(told, "max_timeout_sec")
    return (
        ("Scripts", _scripts(told)),
        ("Interpreters", ", ".join(_texts(told, "interpreters")) or "none"),
        ("Levels to ask for", f"{levels} (otherwise {default})" if default else levels),
        ("Longest run", duration(timeout) if timeout else _UNBOUNDED),
        ("Most output", _bound(told, "max_output_bytes")),
        ("Most memory", _bound(told, "memory_bytes")),
    )


def _scripts(told: Mapping[str, Any]) -> str:
    if _text(told, "refusal"):
        return f"none: {_text(told, 'refusal')}"
    if not told.get("allow_exec"):
        return "none"
    more = " or more" if told.get("lists_cut") else ""
    if told.get("only_listed_scripts"):
        listed = len(_texts(told, "listed_scripts")) + len(_texts(told, "ruled_scripts"))
        return f"only those that policy lists: {listed}{more}"
    forbidden = len(_texts(told, "forbidden_scripts"))
    return f"any but {count(forbidden, 'script')}{more}" if forbidden else "any"


def _bound(told: Mapping[str, Any], key: str) -> str:
    most = _number(told, key)
    return size(most) if most else _UNBOUNDED


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _number(document: Mapping[str, Any], key: str) -> int:
    value = document.get(key)
    return int(value) if isinstance(value, int | float) else 0


def _texts(document: Mapping[str, Any], key: str) -> list[str]:
    value = document.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
