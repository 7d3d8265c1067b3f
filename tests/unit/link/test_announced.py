"""An announcement is read or ignored, never an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.link.announced import announced_features


def test_features_are_read() -> None:
    answer = {"ok": True, "lattice_ext": {"v": 1, "features": ["result_batch", "later"], "more": {}}}
    assert announced_features(answer) == {"result_batch", "later"}


@pytest.mark.parametrize(
    "extension",
    [
        *(None, [], "x", 1, {}, {"v": 1}, {"features": ["x"]}, {"v": 1, "features": None}),
        *({"v": version, "features": ["x"]} for version in (0, 2, "1", 1.0, True, None, [1])),
        *({"v": 1, "features": features} for features in ("x", {"x": 1}, ["x", 7], [["x"]], [None], ["x"] * 65)),
    ],
)
def test_anything_else_announces_nothing(extension: object) -> None:
    assert announced_features({"lattice_ext": extension}) == frozenset()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["lattice_ext", "v", "features", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_no_answer_is_an_error(answer: object) -> None:
    assert all(isinstance(name, str) for name in announced_features(answer))
