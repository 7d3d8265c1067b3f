"""What is kept of a node's words (protocol reference 4.1, 4.3)."""

from datetime import UTC, datetime, timedelta, timezone

from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.runtime import AgentRuntime
from server_stub.rules.facts import clean_facts, clean_metrics, clean_runtime, clean_text, is_online

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_online_for_ninety_seconds() -> None:
    assert is_online(NOW, NOW + timedelta(seconds=90))
    assert not is_online(NOW, NOW + timedelta(seconds=90, microseconds=1))
    assert not is_online(None, NOW)


def test_text_is_cut_on_a_character_boundary_without_control_characters() -> None:
    assert clean_text("a\x00\x1b[b\n", 96) == "a[b"
    assert clean_text("é" * 60, 97) == "é" * 48


def test_facts_that_say_nothing_are_ignored() -> None:
    assert clean_facts(HostFacts(), NOW) is None
    assert clean_facts(HostFacts(reported_at=NOW), NOW) is None


def test_facts_are_clamped() -> None:
    facts = HostFacts(
        hostname="h" * 200,
        cpu_model="m" * 200,
        cpu_cores=5000,
        memory_total=2**54 + 1,
        swap_total=2**54,
        boot_time=NOW + timedelta(minutes=6),
    )
    kept = clean_facts(facts, NOW)
    assert kept == HostFacts(hostname="h" * 96, cpu_model="m" * 192, swap_total=2**54, reported_at=NOW)


def test_a_time_that_utc_cannot_show_does_no_harm() -> None:
    edge = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))
    kept = clean_metrics(Metrics(collected_at=edge)).collected_at
    assert kept is not None
    assert kept.utcoffset() == timedelta(0)


def test_runtime_is_clamped_and_the_nodes_own_kill_switch_wins() -> None:
    features = tuple(f"feature-{n:02}" for n in range(20, 0, -1))
    sent = AgentRuntime(
        allow_exec=True,
        allow_root_exec=True,
        allow_terminal=True,
        no_exec=True,
        task_sandbox="s" * 100,
        task_sandbox_warning="w" * 300,
        task_sandbox_features=(features[0], *features, "f" * 70),
    )
    kept = clean_runtime(sent)
    assert (kept.allow_exec, kept.allow_root_exec, kept.allow_terminal, kept.no_exec) == (False, False, False, True)
    assert (len(kept.task_sandbox), len(kept.task_sandbox_warning)) == (96, 240)
    assert kept.task_sandbox_features == tuple(sorted(features[:16]))
