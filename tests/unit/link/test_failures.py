"""Texts of a peer in our messages. Which foreign error becomes what: tests/behaviour/test_transport_answers.py."""

import httpx
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.link.errors import Reason
from lattice_agent.link.failures import explain, printable


@given(st.text(max_size=400))
def test_a_peers_text_fits_on_one_line(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) <= 200


def test_a_short_text_stays_as_it_is() -> None:
    assert printable("x" * 200) == "x" * 200
    assert printable("x" * 201) == "x" * 199 + "…"


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = httpx.ReadError("first"), OSError("second")
    first.__context__, second.__context__ = second, first
    assert explain(first) == (Reason.LOST, "the connection was lost (first)")


def test_of_several_addresses_the_first_ones_error_is_told() -> None:
    error = httpx.ConnectError("all failed")
    error.__cause__ = OSError("all failed")
    error.__cause__.__cause__ = ExceptionGroup("", [OSError(101, "Network is unreachable"), OSError(111, "x")])
    assert explain(error) == (Reason.CONNECT, "no connection (Network is unreachable)")
