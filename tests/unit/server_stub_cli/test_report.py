"""What an agent reported, whatever it is."""

from server_stub.cli.report import section
from tests.unit.server_stub_cli.rig import HOSTILE, assert_harmless


def test_units_come_from_the_keys() -> None:
    lines = section(
        {
            "memory_total": 4 * 2**30,
            "net_rx_bytes": 1024,
            "net_rx_speed": 1536.7,
            "cpu_percent": 12.34,
            "uptime_seconds": 90_061,
            "load1": 0.5,
            "cpu_cores": 4,
            "allow_exec": True,
            "features": ["a", "b"],
        }
    )

    assert [line.split(maxsplit=1) for line in lines] == [
        ["memory_total", "4.0 GiB"],
        ["net_rx_bytes", "1.0 KiB"],
        ["net_rx_speed", "1.5 KiB/s"],
        ["cpu_percent", "12.3 %"],
        ["uptime_seconds", "1 d 1 h"],
        ["load1", "0.5"],
        ["cpu_cores", "4"],
        ["allow_exec", "yes"],
        ["features", "a, b"],
    ]


def test_nothing_is_shown_for_nothing() -> None:
    assert section({"a": "", "b": None, "c": [], "d": {}, "e": {"f": None}, "at": "0001-01-01T00:00:00Z"}) == []
    assert section({"a": 0, "b": False}) == ["a  0", "b  no"]


def test_nested_values_are_joined_by_dots_down_to_a_depth() -> None:
    assert section({"a": {"b": {"c": {"d": 1}}}, "l": [{"x": 1}]}) == ['a.b.c  {"d": 1}', 'l      [{"x": 1}]']


def test_a_hostile_report_is_harmless_and_has_an_end() -> None:
    lines = section({HOSTILE: HOSTILE, "l": [HOSTILE], "m": [{HOSTILE: HOSTILE}], "s": "x" * 10_000})
    many = section({f"key{n}": n for n in range(1000)})

    for line in lines:
        assert line.isprintable()
    assert_harmless("\n".join(lines))
    assert max(map(len, lines)) < 700
    assert len(many) == 201
    assert many[-1] == "... and 800 more; see them with --json"


def test_numbers_that_are_no_measure_do_not_break_it() -> None:
    lines = section({"cpu_percent": float("1e308"), "memory_total": -1, "x_speed": 2**63, "uptime_seconds": -5})

    assert len(lines) == 4


def test_integers_beyond_any_float_are_shown_as_they_are() -> None:
    huge = 10**400

    lines = section({"a_total": huge, "b_speed": huge, "c_percent": huge, "d_seconds": huge, "e": huge})

    assert [line.split()[1] for line in lines if not line.startswith("d")] == [str(huge)] * 4
    assert "d" in lines[3].split()
