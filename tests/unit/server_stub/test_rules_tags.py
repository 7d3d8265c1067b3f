"""Tags of nodes."""

import pytest

from server_stub.errors import Refused
from server_stub.rules.tags import check_tags


def test_each_tag_is_there_once_and_in_order() -> None:
    assert check_tags(["web", "eu-1", "web", "a.b_c"]) == ("a.b_c", "eu-1", "web")


def test_a_node_has_16_different_tags_at_most() -> None:
    tags = [f"t{number:02}" for number in range(16)]
    assert check_tags([*tags, "t00"]) == tuple(tags)
    with pytest.raises(Refused, match=r"^tags must be at most 16$") as refused:
        check_tags([*tags, "t16"])
    assert refused.value.status == 400


@pytest.mark.parametrize("tag", ["", "A", "ä", "a b", "a\n", "x" * 33])
def test_a_tag_is_1_to_32_characters_of_a_few(tag: str) -> None:
    assert check_tags(["x" * 32]) == ("x" * 32,)
    with pytest.raises(Refused, match=r"a tag must be 1 to 32 characters of a-z 0-9 _ \. -") as refused:
        check_tags(["ok", tag])
    assert refused.value.status == 400
