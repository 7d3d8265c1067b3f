"""What a TLS context of the link insists on. Real handshakes: tests/behaviour/test_transport_tls.py."""

import ssl

import pytest

from lattice_agent.link.errors import PinMismatchError
from lattice_agent.link.tls import bare_context, check_pin, control_plane_context

PIN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize("pins", [(), (PIN,)])
def test_a_context_verifies_chain_name_and_version(pins: tuple[str, ...]) -> None:
    context = control_plane_context(None, pins)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.hostname_checks_common_name


def test_key_logging_cannot_be_switched_on_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path_factory.mktemp("keys") / "log"))
    assert control_plane_context(None, ()).keylog_filename is None


def test_pins_of_one_context_are_not_those_of_another() -> None:
    first, second = bare_context((PIN,)), bare_context(("x",))
    assert vars(first)["pins"] == {PIN}
    assert vars(second)["pins"] == {"x"}


@pytest.mark.parametrize("certificate", [None, b""])
def test_a_session_without_a_certificate_matches_no_pin(certificate: bytes | None) -> None:
    with pytest.raises(PinMismatchError):
        check_pin(certificate, frozenset({PIN}))
