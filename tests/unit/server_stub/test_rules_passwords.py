"""What may be a password of an operator."""

import pytest

from server_stub.errors import Refused
from server_stub.rules.passwords import check_password


@pytest.mark.parametrize("length", [12, 13, 1_023, 1_024])
def test_a_password_of_12_to_1024_characters_is_taken_as_it_is(length: int) -> None:
    password = " ß" * 512
    assert check_password(password[:length]) == password[:length]


@pytest.mark.parametrize("length", [0, 11, 1_025])
def test_another_is_refused_with_its_length_and_nothing_of_it(length: int) -> None:
    with pytest.raises(Refused, match=f"password: must have 12 to 1024 characters, this one has {length}$") as refused:
        check_password("x" * length)
    assert refused.value.status == 400
    assert "xx" not in str(refused.value)
