"""Go's flag syntax, case by case and against a model of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.cli.goflags import Flag, FlagError, FlagKind, HelpRequested, Parsed, parse, usage

FLAGS = {
    flag.name: flag
    for flag in (
        Flag("allow-exec", FlagKind.BOOL, "Run tasks."),
        Flag("interval", FlagKind.DURATION, "Loop period.", "10s"),
        Flag("wg-port", FlagKind.INT, "Port."),
        Flag("server", FlagKind.STRING, "Base URL."),
        Flag("pin", FlagKind.STRINGS, "Keys."),
    )
}


def read(*words: str) -> Parsed:
    return parse(FLAGS, words)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["-server", "a"], {"server": "a"}),
        (["--server", "a"], {"server": "a"}),
        (["-server=a"], {"server": "a"}),
        (["--server=a=b"], {"server": "a=b"}),
        (["-server="], {"server": ""}),
        (["-server", ""], {"server": ""}),
        (["-server", "-allow-exec"], {"server": "-allow-exec"}),
        (["-server", "--"], {"server": "--"}),
        (["-server", "a", "-server", "b"], {"server": "b"}),
        (["-allow-exec"], {"allow-exec": True}),
        (["--allow-exec=T"], {"allow-exec": True}),
        (["-allow-exec=false"], {"allow-exec": False}),
        (["-allow-exec", "-allow-exec=0"], {"allow-exec": False}),
        (["-interval", "1m30s"], {"interval": 90.0}),
        (["-wg-port=0x10"], {"wg-port": 16}),
        (["-pin", "a", "-pin=b,c"], {"pin": ("a", "b,c")}),
        ([], {}),
    ],
)
def test_flags_are_read_as_go_reads_them(words: list[str], values: dict[str, object]) -> None:
    assert parse(FLAGS, words) == Parsed(values, ())  # type: ignore[arg-type]  # the table is wider than FlagValue


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (["--", "-server", "a"], ("-server", "a")),
        (["word", "-server", "a"], ("word", "-server", "a")),
        (["-", "-server"], ("-", "-server")),
        (["", "-server"], ("", "-server")),
        (["-allow-exec", "true", "-server", "a"], ("true", "-server", "a")),
    ],
)
def test_what_ends_the_flags(words: list[str], rest: tuple[str, ...]) -> None:
    parsed = parse(FLAGS, words)
    assert parsed.rest == rest
    assert "server" not in parsed.values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["--nope=secret"], "flag provided but not defined: -nope"),
        (["-server"], "flag needs an argument: -server"),
        (["-allow-exec=maybe"], 'invalid boolean value "maybe" for -allow-exec: parse error'),
        (["-allow-exec="], 'invalid boolean value "" for -allow-exec: parse error'),
        (["-interval", "10"], 'invalid value "10" for flag -interval: parse error'),
        (["-wg-port=a"], 'invalid value "a" for flag -wg-port: parse error'),
        (["-wg-port", "9" * 30], f'invalid value "{"9" * 30}" for flag -wg-port: value out of range'),
        (["---server"], "bad flag syntax: ---server"),
        (["-=x"], "bad flag syntax: -"),
        (["--=x"], "bad flag syntax: --"),
    ],
)
def test_what_does_not_parse_is_said_in_gos_words(words: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(FLAGS, words)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("word", ["-h", "-help", "--h", "--help", "-h=1"])
def test_help(word: str) -> None:
    with pytest.raises(HelpRequested):
        read("-allow-exec", word, "-nope")


def test_an_error_before_help_wins() -> None:
    with pytest.raises(FlagError):
        read("-nope", "-h")


def test_usage_text_lists_every_flag_by_name() -> None:
    assert usage("prog", FLAGS) == (
        "Usage of prog:\n"
        "  -allow-exec\n    \tRun tasks.\n"
        "  -interval duration\n    \tLoop period. (default 10s)\n"
        "  -pin value\n    \tKeys.\n"
        "  -server string\n    \tBase URL.\n"
        "  -wg-port int\n    \tPort.\n"
    )


WORDS = st.lists(
    st.sampled_from(
        ["-server", "--allow-exec", "-allow-exec=f", "-interval=1s", "-pin", "--", "-", "word", "-nope", "-h"]
    )
    | st.text(max_size=5),
    max_size=8,
)


@given(WORDS)
def test_any_words_parse_or_are_refused_and_none_is_lost(words: list[str]) -> None:
    try:
        parsed = parse(FLAGS, words)
    except (FlagError, HelpRequested):
        return
    assert list(parsed.rest) == words[len(words) - len(parsed.rest) :]
    assert set(parsed.values) <= set(FLAGS)


@given(st.text(), st.booleans(), st.booleans())
def test_any_value_survives_in_both_spellings(value: str, two_dashes: bool, equals: bool) -> None:
    name = "--server" if two_dashes else "-server"
    words = [f"{name}={value}"] if equals else [name, value]
    assert parse(FLAGS, words).values == {"server": value}
