"""Flags over environment over file: what each source may say, who wins, and how a mistake is named."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.config import Loaded, complete, load
from lattice_agent.config.load import default_state_dir
from lattice_agent.config.options import Kind
from lattice_agent.config.sources import Plain
from lattice_agent.config.table import DEFAULTS, OPTIONS
from lattice_agent.config.unbuilt import UNBUILT
from lattice_agent.errors import ConfigError
from lattice_agent.secret import Secret

TOKEN = "not-a-real-token-0123456789"
HOME = {"HOME": "/home/agent"}


def loaded(
    flags: dict[str, Plain] | None = None, environ: dict[str, str] | None = None, *, file: Path | None = None
) -> Loaded:
    given_flags = {**(flags or {}), **({"config": str(file)} if file else {})}
    return load(given_flags, HOME | (environ or {}), euid=1000)


def value_of(result: Loaded, key: str) -> object:
    section, _, name = key.partition(".")
    value = getattr(getattr(result.settings, section), name)
    return value.reveal() if isinstance(value, Secret) else value


SAMPLES: dict[Kind, tuple[Plain, str, str, object]] = {
    # kind: flag value, variable text, TOML text, and what all three come to
    Kind.SWITCH: (True, "1", "true", True),
    Kind.TEXT: ("static", "static", '"static"', "static"),
    Kind.PATH: ("/x/y", "/x/y", '"/x/y"', Path("/x/y")),
    Kind.SECRET: ("s3cret", "s3cret", '"s3cret"', "s3cret"),
    Kind.INTEGER: (7, "7", "7", 7),
    Kind.SECONDS: (7.5, "7.5s", "7.5", 7.5),
    Kind.LIST: ("a,b", "a, b", '["a", "b"]', ("a", "b")),
    Kind.TABLE: ("a@x=a,b=c", "a@x=a, b=c", '{"a@x" = "a", b = "c"}', ("a@x=a", "b=c")),
}


@pytest.mark.parametrize("key", OPTIONS)
def test_every_setting_is_reached_from_its_flag(key: str) -> None:
    option = OPTIONS[key]
    flag_value, _, _, expected = SAMPLES[option.kind]
    result = loaded({option.flag: flag_value})
    assert value_of(result, key) == expected
    assert result.origins == {key: f"-{option.flag}"}


@pytest.mark.parametrize("key", [key for key, option in OPTIONS.items() if option.env])
def test_every_setting_is_reached_from_its_variable(key: str) -> None:
    option = OPTIONS[key]
    _, text, _, expected = SAMPLES[option.kind]
    result = loaded(environ={option.env: text})
    assert value_of(result, key) == expected
    assert result.origins == {key: option.env}


def test_only_interval_has_no_variable() -> None:
    assert [key for key, option in OPTIONS.items() if not option.env] == ["report.interval_s"]


@pytest.mark.needs_root
@pytest.mark.parametrize("key", OPTIONS)
def test_every_setting_is_reached_from_a_file_of_root(key: str, tmp_path: Path) -> None:
    section, _, name = key.partition(".")
    _, _, toml, expected = SAMPLES[OPTIONS[key].kind]
    file = write(tmp_path, f"[{section}]\n{name} = {toml}\n")
    result = loaded(file=file)
    assert value_of(result, key) == expected
    assert result.origins == {key: f"{key} in {file}"}


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "agent.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_defaults_are_those_of_the_go_agent() -> None:
    settings = loaded().settings
    assert settings.control_plane.base_url == "http://127.0.0.1:8088"
    assert (settings.report.interval_s, settings.usage.timeout_s, settings.addresses.mode) == (10.0, 3.0, "auto")
    assert (settings.exec.allow_exec, settings.exec.allow_root_exec, settings.exec.no_exec) == (False, False, False)
    assert (settings.exec.slots, settings.exec.drain_s) == (2, 5.0)
    assert (settings.report.poll_idle_s, settings.report.poll_busy_s) == (5.0, 1.0)
    assert loaded().warnings == ()


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[exec]\nslots = 3\n")
    assert loaded(file=file).settings.exec.slots == 3
    assert loaded(environ={"LATTICE_SLOTS": "4"}, file=file).settings.exec.slots == 4
    assert loaded({"slots": 5}, {"LATTICE_SLOTS": "4"}, file=file).settings.exec.slots == 5


def test_an_empty_variable_counts_as_unset_and_an_empty_flag_as_given(tmp_path: Path) -> None:
    file = write(tmp_path, '[addresses]\nwg_ip = "10.0.0.1"\n')
    assert loaded(environ={"LATTICE_WG_IP": ""}, file=file).settings.addresses.wg_ip == "10.0.0.1"
    assert loaded({"wg-ip": ""}, {"LATTICE_WG_IP": "10.0.0.2"}).settings.addresses.wg_ip == ""


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    file = write(tmp_path, "[exec]\nslots = 3\n")
    assert loaded(environ={"LATTICE_CONFIG": str(file)}).settings.exec.slots == 3


@pytest.mark.parametrize("word", ["true", "yes", "T", "on", " 1", "11"])
def test_a_boolean_variable_counts_only_if_exactly_1(word: str) -> None:
    result = loaded(environ={"LATTICE_AGENT_ALLOW_EXEC": word})
    assert result.settings.exec.allow_exec is False
    assert len(result.warnings) == 1
    assert "LATTICE_AGENT_ALLOW_EXEC" in result.warnings[0]


def test_a_boolean_variable_that_is_false_overrules_the_file_and_a_misspelt_one_does_not(tmp_path: Path) -> None:
    file = write(tmp_path, "[exec]\nno_exec = true\n")
    assert loaded(environ={"LATTICE_NO_EXEC": "0"}, file=file).settings.exec.no_exec is False
    assert loaded(environ={"LATTICE_NO_EXEC": "yes"}, file=file).settings.exec.no_exec is True
    assert loaded({"no-exec": False}, {"LATTICE_NO_EXEC": "1"}).settings.exec.no_exec is False


@pytest.mark.parametrize(
    ("variable", "text", "key", "fallback"),
    [
        ("LATTICE_PROXY_USAGE_TIMEOUT", "soon", "usage.timeout_s", 3.0),
        ("LATTICE_PROXY_USAGE_TIMEOUT", "3", "usage.timeout_s", 3.0),
        ("LATTICE_WG_PORT", "0x10", "addresses.wg_port", 0),
        ("LATTICE_WG_PORT", "many", "addresses.wg_port", 0),
        ("LATTICE_WG_PORT", "70000", "addresses.wg_port", 0),
        ("LATTICE_WG_PORT", "-1", "addresses.wg_port", 0),
    ],
)
def test_variables_the_go_agent_forgives_fall_back_with_a_warning(
    variable: str, text: str, key: str, fallback: float
) -> None:
    result = loaded(environ={variable: text})
    assert value_of(result, key) == fallback
    assert [variable in warning for warning in result.warnings] == [True]


def test_other_variables_that_do_not_parse_are_errors() -> None:
    with pytest.raises(ConfigError, match='LATTICE_SLOTS is "two"; a whole number is expected'):
        loaded(environ={"LATTICE_SLOTS": "two"})
    with pytest.raises(ConfigError, match='LATTICE_DRAIN_TIME is "5"; a duration such as 10s'):
        loaded(environ={"LATTICE_DRAIN_TIME": "5"})


@pytest.mark.parametrize("seconds", [0.0, -1.0, -1e-9, 0.01, 86401.0])
def test_weak_point_11_an_interval_that_cannot_be_kept_is_one_clear_error(seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"^-interval is -?[0-9.]+s; it must be ") as caught:
        loaded({"interval": seconds})
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("toml", ["0", "-1", "nan", "inf", "-inf"])
def test_weak_point_11_the_same_from_a_file(toml: str, tmp_path: Path) -> None:
    file = write(tmp_path, f"[report]\ninterval_s = {toml}\n")
    with pytest.raises(ConfigError, match=rf"report\.interval_s in {file} is .*; it must be "):
        loaded(file=file)


def test_an_interval_that_looks_offline_is_warned_about() -> None:
    assert "offline" in loaded({"interval": 90.0}).warnings[0]
    assert loaded({"interval": 89.0}).warnings == ()


@pytest.mark.parametrize("slots", [0, 65, -1])
def test_slots_have_bounds(slots: int) -> None:
    with pytest.raises(ConfigError, match=rf"^-slots is {slots}; it must be "):
        loaded({"slots": slots})
    assert [loaded({"slots": number}).settings.exec.slots for number in (1, 64)] == [1, 64]


@pytest.mark.parametrize("address", ["10.0.0.1", "192.0.2.1", "no address", "::1"])
def test_weak_point_08_no_address_makes_the_start_fail(address: str) -> None:
    flags: dict[str, Plain] = {
        "public-ip": address,
        "public-ip6": address,
        "wg-ip": address,
        "token": TOKEN,
        "node-id": "n",
    }
    result = complete(loaded(flags))
    assert result.settings.addresses.public_ip4 == address
    assert result.warnings == ()


def test_an_unknown_address_mode_acts_like_auto() -> None:
    result = loaded({"ip-mode": "magic"})
    assert result.settings.addresses.mode == "auto"
    assert result.warnings == ('-ip-mode is "magic", which acts like auto',)


def test_a_usage_timeout_of_zero_means_the_default_and_a_negative_one_is_refused() -> None:
    assert loaded({"proxy-usage-timeout": 0.0}).settings.usage.timeout_s == 3.0
    with pytest.raises(ConfigError, match="-proxy-usage-timeout is -1s"):
        loaded({"proxy-usage-timeout": -1.0})


def test_the_base_url_loses_trailing_slashes_and_keeps_its_prefix() -> None:
    assert (
        loaded({"server": "https://c.example/prefix//"}).settings.control_plane.base_url == "https://c.example/prefix"
    )


def test_pins_add_up_and_resolvers_are_split() -> None:
    result = loaded({"pin-sha256": ("a", "b,c"), "ip-resolvers": "https://r1, ,https://r2,"}).settings
    assert result.control_plane.pins == ("a", "b", "c")
    assert result.addresses.resolvers == ("https://r1", "https://r2")


def test_paths_are_made_absolute() -> None:
    assert loaded({"state-dir": "here"}).settings.state.dir == Path.cwd() / "here"


@pytest.mark.parametrize(
    ("environ", "euid", "expected"),
    [
        ({}, 0, "/var/lib/lattice-agent"),
        ({"STATE_DIRECTORY": "/run/a:/run/b"}, 0, "/run/a"),
        ({"STATE_DIRECTORY": "/run/a", "HOME": "/h"}, 1000, "/run/a"),
        ({"XDG_STATE_HOME": "/xdg", "HOME": "/h"}, 1000, "/xdg/lattice-agent"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, 1000, "/h/.local/state/lattice-agent"),
        ({"XDG_STATE_HOME": "/xdg", "HOME": "/h"}, 0, "/var/lib/lattice-agent"),
        ({}, 1000, "/var/lib/lattice-agent"),
        ({"HOME": "relative"}, 1000, "/var/lib/lattice-agent"),
    ],
)
def test_where_state_is_kept_by_default(environ: dict[str, str], euid: int, expected: str) -> None:
    assert default_state_dir(environ, euid) == Path(expected)


@pytest.mark.parametrize("unbuilt", UNBUILT, ids=lambda unbuilt: unbuilt.flag)
def test_a_flag_without_a_feature_gets_one_warning(unbuilt: Any) -> None:
    switch = unbuilt.kind is Kind.SWITCH
    by_flag = loaded({unbuilt.flag: True if switch else "something"})
    by_variable = loaded(environ={unbuilt.env: "1" if switch else "something"})
    assert by_flag.warnings == (
        f"-{unbuilt.flag} is set, but {unbuilt.feature} is not built into this agent: it stays off",
    )
    assert by_variable.warnings == (by_flag.warnings[0].replace(f"-{unbuilt.flag}", unbuilt.env),)
    asks_for_nothing = loaded({unbuilt.flag: False if switch else unbuilt.default}, {unbuilt.env: "something"})
    assert asks_for_nothing.warnings == ()


@given(st.dictionaries(st.sampled_from(sorted(option.env for option in OPTIONS.values() if option.env)), st.text()))
def test_any_environment_gives_settings_or_one_line_without_the_token(environ: dict[str, str]) -> None:
    environ["LATTICE_NODE_TOKEN"] = TOKEN
    try:
        said = repr(loaded(environ=environ))
    except ConfigError as error:
        said = f"{error}; {error.hint()}"
    assert TOKEN not in said
    assert "\n" not in said


def test_defaults_table_covers_the_options() -> None:
    assert DEFAULTS.keys() == OPTIONS.keys()
