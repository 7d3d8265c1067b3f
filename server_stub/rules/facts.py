"""How what a node says about itself is cut to size before it is kept (protocol reference 4.1, 4.3), and when it
counts as online (1.1)."""

from datetime import datetime, timedelta
from typing import Any, Final

from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.policy import MAX_SCRIPTS, PolicySummary
from lattice_agent.wire.results import RunDetail
from lattice_agent.wire.runtime import FEATURES_KEPT, AgentRuntime
from server_stub.times import in_utc

ONLINE_WINDOW: Final = timedelta(seconds=90)
_TEXT_BYTES: Final = 96
_CPU_MODEL_BYTES: Final = 192
_WARNING_BYTES: Final = 240
_FEATURE_BYTES: Final = 64
_RUNTIME_TEXT_BYTES: Final = 512
_DETAIL_BYTES: Final = 512
_POLICY_BYTES: Final = 512
_POLICY_NAMES: Final = 16
"""Levels and interpreters of a policy; there are four of each."""
_MAX_CORES: Final = 4096
_MAX_MEMORY: Final = 16 * 2**50
_BOOT_SKEW: Final = timedelta(minutes=5)


def is_online(last_seen: datetime | None, now: datetime) -> bool:
    """Online until MORE than 90 s have passed since the last accepted hello or heartbeat."""
    return last_seen is not None and now - last_seen <= ONLINE_WINDOW


def clean_text(text: str, max_bytes: int) -> str:
    """Without control characters, cut on a character boundary."""
    printable = "".join(character for character in text[:max_bytes] if character.isprintable())
    return printable.encode()[:max_bytes].decode("utf-8", "ignore")


def clean_facts(facts: HostFacts, now: datetime) -> HostFacts | None:
    """The facts as they are kept, ``None`` when nothing was said (then the stored ones stay)."""
    if facts == HostFacts(reported_at=facts.reported_at):
        return None
    texts = ("hostname", "os", "platform", "platform_version", "kernel_version", "arch", "virtualization")
    changes: dict[str, Any] = {name: clean_text(getattr(facts, name), _TEXT_BYTES) for name in texts}
    boot = in_utc(facts.boot_time)
    changes |= {
        "cpu_model": clean_text(facts.cpu_model, _CPU_MODEL_BYTES),
        "cpu_cores": facts.cpu_cores if 1 <= facts.cpu_cores <= _MAX_CORES else 0,
        "memory_total": facts.memory_total if facts.memory_total <= _MAX_MEMORY else 0,
        "swap_total": facts.swap_total if facts.swap_total <= _MAX_MEMORY else 0,
        "boot_time": boot if boot is not None and boot <= now + _BOOT_SKEW else None,
        "reported_at": now,
    }
    return facts.model_copy(update=changes)


def clean_metrics(metrics: Metrics) -> Metrics:
    """As given; only a time that UTC cannot show is moved."""
    return metrics.model_copy(update={"collected_at": in_utc(metrics.collected_at)})


def clean_document(value: Any, max_bytes: int) -> Any:
    """A JSON value whose texts, keys included, are without control characters and of at most so many bytes."""
    if isinstance(value, str):
        return clean_text(value, max_bytes)
    if isinstance(value, list):
        return [clean_document(item, max_bytes) for item in value]
    if isinstance(value, dict):
        return {clean_text(key, max_bytes): clean_document(item, max_bytes) for key, item in value.items()}
    return value


def clean_runtime(runtime: AgentRuntime) -> AgentRuntime:
    """The kill switch of the node wins over its other flags; the first 16 distinct features are kept, sorted."""
    features = dict.fromkeys(clean_text(feature, _FEATURE_BYTES) for feature in runtime.task_sandbox_features)
    changes: dict[str, Any] = {
        name: clean_text(value, _RUNTIME_TEXT_BYTES) for name, value in runtime if isinstance(value, str)
    }
    changes |= {
        "task_sandbox": clean_text(runtime.task_sandbox, _TEXT_BYTES),
        "task_sandbox_warning": clean_text(runtime.task_sandbox_warning, _WARNING_BYTES),
        "task_sandbox_features": tuple(sorted([name for name in features if name][:FEATURES_KEPT])),
        "reported_at": in_utc(runtime.reported_at),
    }
    if runtime.no_exec:
        changes |= {"allow_exec": False, "allow_root_exec": False, "allow_terminal": False}
    return runtime.model_copy(update=changes)


def clean_detail(detail: RunDetail) -> RunDetail:
    """Its texts without control characters and of at most 512 bytes each."""
    return detail.model_copy(
        update={name: clean_text(value, _DETAIL_BYTES) for name, value in detail if isinstance(value, str)}
    )


def clean_policy(policy: PolicySummary) -> PolicySummary:
    """With lists and texts cut to size; that digests were cut is said in ``lists_cut``."""
    lists = {name: value for name, value in policy if isinstance(value, tuple)}
    changes: dict[str, Any] = {
        name: clean_text(value, _POLICY_BYTES) for name, value in policy if isinstance(value, str)
    }
    for name, items in lists.items():
        most = MAX_SCRIPTS if name.endswith("_scripts") else _POLICY_NAMES
        changes[name] = tuple(clean_text(item, _TEXT_BYTES) for item in items[:most])
    cut = any(len(items) > MAX_SCRIPTS for name, items in lists.items() if name.endswith("_scripts"))
    return policy.model_copy(update=changes | {"lists_cut": policy.lists_cut or cut})
