"""What the screen has of a stream is in the end exactly the result, whatever came live."""

from hypothesis import given
from hypothesis import strategies as st

from server_stub.cli.live_output import LiveStream
from server_stub.cli.text import visible
from server_stub.rules.task_limits import MAX_OUTPUT_BYTES

BYTES = st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode))


def ended(text: str) -> str:
    shown = visible(text, keep="\n\t")
    return shown if not shown or shown.endswith("\n") else shown + "\n"


@given(BYTES, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_any_pieces_and_the_result_give_the_result(produced: bytes, pieces: list[tuple[int, int]]) -> None:
    """Pieces that overlap, repeat, leave gaps or never come."""
    stream, result = LiveStream(colours=False), produced.decode("utf-8", "replace")

    shown = "".join(stream.take(start, produced[start : start + length]) for start, length in pieces)
    rest, remark, again = stream.complete(result)

    assert (remark, again) == ("", "")
    assert shown + rest == ended(result)


@given(BYTES, st.lists(st.integers(1, 5), min_size=1, max_size=40))
def test_pieces_in_order_are_shown_at_once_but_for_a_cut_character(produced: bytes, lengths: list[int]) -> None:
    stream, shown, start = LiveStream(colours=False), "", 0
    for length in lengths:
        shown += stream.take(start, produced[start : start + length])
        start = min(start + length, len(produced))

    whole = produced[:start].decode("utf-8", "replace")
    assert ended(whole).startswith(shown)
    assert len(visible(whole, keep="\n\t")) - len(shown) <= 3


def test_a_result_of_another_run_is_shown_again() -> None:
    stream = LiveStream(colours=False)
    stream.take(0, b"one")

    assert stream.complete("two") == ("\n", "what is shown above is not the result, which follows", "two\n")


def test_a_result_that_holds_less_is_said() -> None:
    stream = LiveStream(colours=False)
    stream.take(0, b"\xff" * 10)

    closing, remark, again = stream.complete("\ufffd" * 3)

    assert (closing, again) == ("\n", "")
    assert remark == "the result holds less than is shown above"


def test_more_than_a_result_can_hold_is_neither_shown_nor_kept() -> None:
    stream, piece = LiveStream(colours=False), b"y" * 12_288

    shown = sum(len(stream.take(number * len(piece), piece)) for number in range(1000))

    assert shown == MAX_OUTPUT_BYTES
    assert stream.complete("y" * MAX_OUTPUT_BYTES) == ("\n", "", "")


def test_a_remark_of_ours_begins_a_line_in_the_screens_own_colours() -> None:
    stream = LiveStream(colours=True)
    stream.take(0, b"\x1b[31mred")

    assert stream.interrupt() == "\x1b[0m\n"
    assert stream.interrupt() == ""
