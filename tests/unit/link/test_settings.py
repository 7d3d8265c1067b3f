"""Settings of the link: pins in one spelling, times that can work."""

import base64

import pytest

from lattice_agent.errors import ConfigError
from lattice_agent.link.settings import LinkSettings

PIN = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize("pin", [PIN, f"sha256/{PIN}"])
def test_a_pin_is_kept_without_its_prefix(pin: str) -> None:
    assert LinkSettings("https://control.test", "node-1", pin_spki_sha256=(pin,)).pin_spki_sha256 == (PIN,)


@pytest.mark.parametrize(
    "pin", ["", "sha256/", "abc", PIN[:-1], PIN + "=", PIN.replace("=", ""), "sha1/" + PIN, "é" * 44]
)
def test_a_pin_that_is_no_sha256_is_refused_with_the_command_that_makes_one(pin: str) -> None:
    with pytest.raises(ConfigError, match="pin_spki_sha256") as caught:
        LinkSettings("https://control.test", "node-1", pin_spki_sha256=(PIN, pin))
    assert "openssl" in caught.value.hint()


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_that_cannot_work_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="exchange_deadline_s"):
        LinkSettings("https://control.test", "node-1", exchange_deadline_s=value)
