"""What is kept of a node's words (protocol reference 4.1, 4.3)."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.policy import PolicySummary
from lattice_agent.wire.results import RunDetail
from lattice_agent.wire.runtime import AgentRuntime
from server_stub.rules.facts import (
    clean_detail,
    clean_document,
    clean_facts,
    clean_metrics,
    clean_policy,
    clean_runtime,
    clean_text,
    is_online,
)

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


TEXTS = ("hostname", "os", "platform", "platform_version", "kernel_version", "arch", "virtualization")


def test_every_text_of_the_facts_is_cut_and_the_server_says_when_they_came() -> None:
    sent = HostFacts(**dict.fromkeys(TEXTS, "\x07é" * 60), reported_at=NOW - timedelta(days=9))  # type: ignore[arg-type]
    assert clean_facts(sent, NOW) == HostFacts(**dict.fromkeys(TEXTS, "é" * 48), reported_at=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        *(("cpu_cores", 1, 1), ("cpu_cores", 4_096, 4_096), ("cpu_cores", 4_097, 0), ("cpu_cores", -1, 0)),
        *(("memory_total", 2**54, 2**54), ("memory_total", 2**54 + 1, 0)),
        *(("swap_total", 2**54, 2**54), ("swap_total", 2**54 + 1, 0)),
    ],
)
def test_a_number_that_no_machine_has_is_not_known(field: str, sent: int, kept: int) -> None:
    facts = clean_facts(HostFacts(hostname="h", **{field: sent}), NOW)  # type: ignore[arg-type]  # a number by name
    assert facts is not None
    assert getattr(facts, field) == kept


def test_a_node_may_have_booted_five_minutes_from_now_and_no_later() -> None:
    def kept(boot: datetime) -> datetime | None:
        facts = clean_facts(HostFacts(hostname="h", boot_time=boot), NOW)
        assert facts is not None
        return facts.boot_time

    soon = NOW + timedelta(minutes=5)
    assert kept(soon) == soon
    assert kept(NOW - timedelta(days=1)) == NOW - timedelta(days=1)
    assert kept(soon + timedelta(microseconds=1)) is None


def test_a_document_keeps_its_shape_and_every_text_in_it_is_cut() -> None:
    sent = {"a\x00b": ["xxxx", 1, None, {"key": "é" * 9}], "longer": True}
    assert clean_document(sent, 4) == {"ab": ["xxxx", 1, None, {"key": "éé"}], "long": True}


def test_the_texts_of_a_run_are_cut() -> None:
    sent = RunDetail(outcome="failed", reason="r" * 600, rule="a\nb", killed=3)
    assert clean_detail(sent) == RunDetail(outcome="failed", reason="r" * 512, rule="ab", killed=3)


def test_a_policy_is_cut_to_size() -> None:
    sent = PolicySummary(
        allow_exec=True,
        refusal="r" * 600,
        levels=tuple(f"{number:0100}" for number in range(20)),
        interpreters=("s\x00h",),
        listed_scripts=("a" * 64,) * 256,
        max_timeout_sec=9,
    )
    assert clean_policy(sent) == PolicySummary(
        allow_exec=True,
        refusal="r" * 512,
        levels=tuple(f"{number:0100}"[:96] for number in range(16)),
        interpreters=("sh",),
        listed_scripts=("a" * 64,) * 256,
        max_timeout_sec=9,
    )


@pytest.mark.parametrize("name", ["listed_scripts", "ruled_scripts", "forbidden_scripts"])
def test_that_digests_were_cut_is_said(name: str) -> None:
    kept = clean_policy(PolicySummary(**{name: ("a",) * 257}))  # type: ignore[arg-type]  # a list by name
    assert (len(getattr(kept, name)), kept.lists_cut) == (256, True)
    assert clean_policy(PolicySummary(lists_cut=True)).lists_cut
    assert not clean_policy(PolicySummary(levels=("a",) * 300)).lists_cut


def test_a_time_that_utc_cannot_show_does_no_harm() -> None:
    edge = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))
    sampled = clean_metrics(Metrics(collected_at=edge)).collected_at
    for kept in (sampled, clean_runtime(AgentRuntime(reported_at=edge)).reported_at):
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


def test_runtime_without_a_kill_switch_is_kept_as_it_is_said() -> None:
    paths = {"singbox_bin": "b" * 600, "proxy_usage_url": "u\nrl"}
    flags = {"allow_exec": True, "allow_root_exec": True, "allow_terminal": True, "ssh_alerts": True}
    features = ("x" * 70, "", "seccomp")
    sent = AgentRuntime(**paths, **flags, task_sandbox_features=features, reported_at=NOW)  # type: ignore[arg-type]
    assert clean_runtime(sent) == AgentRuntime(
        singbox_bin="b" * 512,
        proxy_usage_url="url",
        **flags,
        task_sandbox_features=("seccomp", "x" * 64),
        reported_at=NOW,
    )
