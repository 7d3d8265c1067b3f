"""Which extensions of the wire the server offers: ``lattice_ext`` in the answers to hello and config."""

from typing import Final

_VERSION: Final = 1
_MAX_FEATURES: Final = 64  # a longer list is not an announcement we know; nothing is used then


def announced_features(answer: object) -> frozenset[str]:
    """The features announced in a decoded JSON answer: ``{"lattice_ext": {"v": 1, "features": ["..."]}}``.

    Absent, of another version, or wrongly shaped means none; it is never an error, because the base wire works
    without. Names we do not know are returned as they are.
    """
    extension = answer.get("lattice_ext") if isinstance(answer, dict) else None
    if not isinstance(extension, dict):
        return frozenset()
    version, features = extension.get("v"), extension.get("features")
    if type(version) is not int or version != _VERSION:  # True and 1.0 equal 1 but are not the version
        return frozenset()
    if not isinstance(features, list) or len(features) > _MAX_FEATURES:
        return frozenset()
    return frozenset(features) if all(isinstance(name, str) for name in features) else frozenset()
