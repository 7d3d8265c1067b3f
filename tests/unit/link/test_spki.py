"""The DER walk: right on real certificates, and harmless on anything else."""

import contextlib
import ssl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.link.spki import MalformedCertificateError, spki_sha256, subject_public_key_info
from tests.rigs.transport import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def test_the_pin_is_what_openssl_computes(authority: Authority) -> None:
    identity = authority.issue("server", alternatives="DNS:control.test")
    assert spki_sha256(der(identity.certificate)) == identity.pin


@pytest.mark.parametrize("key", [("rsa:2048",), ("ed25519",)])
def test_other_kinds_of_keys(tmp_path: Path, key: tuple[str]) -> None:
    certificate = tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-subj", "/CN=x", "-days", "1"]
    subprocess.run([*command, "-keyout", tmp_path / "key", "-out", certificate], check=True, capture_output=True)
    public = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], check=True, capture_output=True
    )
    expected = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=public.stdout, check=True, capture_output=True
    )
    assert subject_public_key_info(der(certificate)) == expected.stdout


def test_a_version_1_certificate_has_no_version_field() -> None:
    key = b"\x30\x02\x05\x00"
    fields = b"\x02\x01\x07" + b"\x30\x00" * 4 + key
    tbs = b"\x30" + bytes([len(fields)]) + fields
    assert subject_public_key_info(b"\x30" + bytes([len(tbs)]) + tbs) == key


@pytest.mark.parametrize(
    "certificate",
    [
        b"",
        b"\x30",
        b"\x31\x00",
        b"\x30\x00",
        b"\x30\x80\x00\x00",  # indefinite length
        b"\x30\x84\x00\x00\x00\x01\x30",  # length in four octets
        b"\x30\x82\xff",  # length cut off
        b"\x30\x05\x30\x03\x02\x7f\x00",  # an element that reaches past its parent
        b"\x30\x0d\x30\x0b\x02\x01\x07" + b"\x30\x00" * 4,  # no key
        b"\x30\x0f\x30\x0d\x02\x01\x07" + b"\x30\x00" * 4 + b"\x31\x00",  # the key is no SEQUENCE
    ],
)
def test_what_is_no_certificate_is_refused(certificate: bytes) -> None:
    with pytest.raises(MalformedCertificateError):
        subject_public_key_info(certificate)


@given(st.data())
def test_a_damaged_certificate_is_refused_or_gives_a_part_of_itself(authority: Authority, data: st.DataObject) -> None:
    whole = der(authority.certificate)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        key = subject_public_key_info(bytes(damaged))
    except MalformedCertificateError:
        return
    assert key.startswith(b"\x30")
    assert key in bytes(damaged)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_give_a_part_of_themselves(noise: bytes) -> None:
    with contextlib.suppress(MalformedCertificateError):
        assert subject_public_key_info(noise) in noise
