import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.address_plan import (
    RESOLVERS_LIMIT,
    SCRIPT_LIMIT,
    USUAL_RESOLVERS_V4,
    USUAL_RESOLVERS_V6,
    AddressFlags,
    AddressPlan,
    plan_addresses,
    script_interpreter,
)
from lattice_agent.wire.base import parse
from lattice_agent.wire.config import AgentConfig, IpConfig
from tests.golden_files import exchange

HERE = "http://127.0.0.1:1/ip"
ALL_FLAGS = AddressFlags(
    mode="auto", public_ip="9.9.9.9", public_ipv6="2606:4700::1", resolvers=(HERE,), script="echo 9.9.9.9"
)


def test_weak_point_22_auto_calls_nobody_unless_resolvers_were_named() -> None:
    assert plan_addresses(AddressFlags(), None) == AddressPlan()


def test_auto_takes_what_is_static_and_asks_for_the_rest() -> None:
    plan = plan_addresses(AddressFlags(public_ip=" 9.9.9.9 ", resolvers=(HERE,)), None)
    assert plan == AddressPlan(public_ip="9.9.9.9", ask_v6=(HERE,))


def test_static_asks_nobody() -> None:
    plan = plan_addresses(AddressFlags(mode="static", public_ip="9.9.9.9", resolvers=(HERE,), script="x"), None)
    assert plan == AddressPlan(public_ip="9.9.9.9")


def test_resolver_ignores_static_addresses() -> None:
    plan = plan_addresses(AddressFlags(mode="resolver", public_ip="9.9.9.9", resolvers=(HERE,)), None)
    assert plan == AddressPlan(ask_v4=(HERE,), ask_v6=(HERE,))


def test_resolver_without_a_list_means_the_go_agents() -> None:
    plan = plan_addresses(AddressFlags(mode="resolver"), None)
    assert plan == AddressPlan(ask_v4=USUAL_RESOLVERS_V4, ask_v6=USUAL_RESOLVERS_V6)


def test_script_runs_the_script_and_nothing_else() -> None:
    plan = plan_addresses(AddressFlags(mode="script", public_ip="9.9.9.9", resolvers=(HERE,), script="\necho\n"), None)
    assert plan == AddressPlan(script="echo")


@pytest.mark.parametrize("script", ["", " \n", "x" * (SCRIPT_LIMIT + 1), "é" * SCRIPT_LIMIT])
def test_a_missing_or_oversized_script_is_a_problem(script: str) -> None:
    plan = plan_addresses(AddressFlags(mode="script", script=script), None)
    assert plan.script == ""
    assert len(plan.problems) == 1


def test_trap_03_an_address_the_server_would_refuse_is_named_and_not_sent() -> None:
    plan = plan_addresses(AddressFlags(mode="static", public_ip="192.168.1.5", public_ipv6="2001:db8::1"), None)
    assert (plan.public_ip, plan.public_ipv6) == ("", "")
    assert "'192.168.1.5' is not a routable public address" in plan.problems[0]
    assert "'2001:db8::1' is reserved for special use" in plan.problems[1]


def test_a_refused_static_address_does_not_make_auto_ask() -> None:
    assert plan_addresses(AddressFlags(public_ip="10.0.0.1", resolvers=(HERE,)), None).ask_v4 == ()


def test_the_server_replaces_everything_together() -> None:
    override = IpConfig(mode="static", static_ipv4="1.1.1.1")
    assert plan_addresses(ALL_FLAGS, override) == AddressPlan(public_ip="1.1.1.1")
    cleared = plan_addresses(ALL_FLAGS, IpConfig(mode="auto"))
    assert cleared == AddressPlan()


@pytest.mark.parametrize("override", [None, IpConfig(), IpConfig(mode=" ", static_ipv4="1.1.1.1")])
def test_without_an_override_the_flags_are_back(override: IpConfig | None) -> None:
    assert plan_addresses(ALL_FLAGS, override) == plan_addresses(ALL_FLAGS, None)


def test_an_unknown_mode_is_auto() -> None:
    override = IpConfig(mode="telepathy", static_ipv4="1.1.1.1")
    assert plan_addresses(ALL_FLAGS, override) == AddressPlan(public_ip="1.1.1.1")


def test_the_recorded_override_of_the_real_server() -> None:
    config = parse(AgentConfig, exchange("config-overrides").answer)
    assert plan_addresses(ALL_FLAGS, config.ip_config) == AddressPlan(public_ip="9.9.9.9")


def test_resolvers_are_web_urls_each_once_and_bounded() -> None:
    urls = (HERE, f" {HERE} ", "", "ftp://user:pw@127.0.0.1/", "file:///etc/passwd", "http://", "http://[")
    plan = plan_addresses(AddressFlags(mode="resolver", resolvers=urls), None)
    assert plan.ask_v4 == plan.ask_v6 == (HERE,)
    assert len(plan.problems) == 4
    assert "pw" not in " ".join(plan.problems)
    many = tuple(f"http://127.0.0.1:{port}/" for port in range(1, RESOLVERS_LIMIT + 3))
    bounded = plan_addresses(AddressFlags(resolvers=many), None)
    assert bounded.ask_v4 == many[:RESOLVERS_LIMIT]
    assert len(bounded.problems) == 1


@pytest.mark.parametrize(
    ("script", "interpreter"),
    [("#!/bin/bash\necho", "bash"), ("#!/usr/bin/env bash", "bash"), ("#!/bin/sh\nbash x", "sh"), ("", "sh")],
)
def test_the_first_line_chooses_the_interpreter(script: str, interpreter: str) -> None:
    assert script_interpreter(script) == interpreter


@given(st.builds(AddressFlags), st.builds(IpConfig, mode=st.text(), script=st.text(), resolvers=st.tuples(st.text())))
def test_no_setting_raises(flags: AddressFlags, override: IpConfig) -> None:
    plan_addresses(flags, override)
