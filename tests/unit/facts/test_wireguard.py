import pytest

from lattice_agent.facts.wireguard import WireGuard, checked_wireguard

KEY = "A" * 43 + "="


def test_good_values_pass_as_they_are() -> None:
    checked = checked_wireguard(ip="10.8.0.2/24", public_key=KEY, endpoint="vpn.example.org:51820", port=51820)
    assert checked == WireGuard(ip="10.8.0.2/24", public_key=KEY, endpoint="vpn.example.org:51820", port=51820)


def test_nothing_given_is_nothing_wrong() -> None:
    assert checked_wireguard() == WireGuard()


@pytest.mark.parametrize("ip", ["10.8.0.2", "fd00::2/64", "fd00::2"])
def test_an_address_needs_no_mask(ip: str) -> None:
    assert checked_wireguard(ip=ip).ip == ip


@pytest.mark.parametrize("endpoint", ["192.0.2.1:51820", "[2001:db8::1]:1", "host:65535"])
def test_endpoints(endpoint: str) -> None:
    assert checked_wireguard(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("ip", value) for value in ("x", "10.8.0.2/33", "10.8.0.2/255.255.255.0", "fe80::1%eth0")),
        *(("public_key", value) for value in ("short=", "A" * 44, "!" * 43 + "=", KEY + "\n")),
        *(
            ("endpoint", value)
            for value in (
                "host",
                "host:",
                ":1",
                "host:http",
                "host:0",
                "host:65536",
                "2001:db8::1:1",
                f"{'h' * 256}:1",
                f"[{'a' * 256}]:1",
            )
        ),
        *(("port", value) for value in (-1, 65_536)),
    ],
)
def test_trap_03_a_value_the_server_would_refuse_is_left_out_and_named(field: str, value: object) -> None:
    checked = checked_wireguard(**{field: value})  # type: ignore[arg-type]  # one of the four, each of its type
    assert not getattr(checked, field)
    assert len(checked.problems) == 1
    assert repr(value) in checked.problems[0]
