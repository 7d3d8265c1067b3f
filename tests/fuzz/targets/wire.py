"""Messages of the wire, each way: every model, and what stands in their place."""

import importlib
import pkgutil
from typing import Final

from lattice_agent import wire
from lattice_agent.wire.base import WireError, WireModel, decode, decode_json, encode
from lattice_agent.wire.control import MAX_CHUNK, MAX_HEADER, decode_chunk, encode_chunk
from tests.fuzz.form import chosen
from tests.fuzz.target import Target


def _models() -> dict[str, type[WireModel]]:
    for module in pkgutil.iter_modules(wire.__path__):
        importlib.import_module(f"{wire.__name__}.{module.name}")
    found: dict[str, type[WireModel]] = {}
    waiting = [WireModel]
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        if model.__module__.startswith(wire.__name__):
            found[model.__name__] = model
    return found


MODELS: Final = _models()


_LAST: Final = b"9999-12-31T23:59:59.999999Z"
"""What is written for a moment that UTC cannot show."""


def _message(data: bytes) -> None:
    model, body = chosen(MODELS, data)
    message = decode(model, body)
    sent = encode(message)
    again = decode(model, sent)
    assert encode(again) == sent
    assert again == message or not _is_exact(model) or _LAST in sent


def _is_exact(model: type[WireModel]) -> bool:
    """Whether a message says all that its model holds: facts leave out what is empty."""
    return not model.__module__.endswith((".fact", ".host_inventory", ".metrics_detail", ".inventory", ".metrics"))


def _chunk(frame: bytes) -> None:
    header, data = decode_chunk(frame)
    assert header.stream in ("stdout", "stderr")
    again = encode_chunk(header, data)
    assert decode_chunk(again) == (header, data)


def _json(data: bytes) -> None:
    value = decode_json(data)
    waiting = [value]
    while waiting:
        item = waiting.pop()
        waiting += (
            list(item.values()) + list(item) if isinstance(item, dict) else item if isinstance(item, list) else []
        )
        if isinstance(item, str):
            item.encode()  # no half of a surrogate pair comes in


TARGETS: Final = (
    Target(
        "wire.message",
        ("lattice_agent.wire.base",),
        _message,
        (WireError,),
        "what is sent again reads the same, and is the same bytes",
        words=tuple(MODELS),
    ),
    Target(
        "wire.chunk",
        ("lattice_agent.wire.control",),
        _chunk,
        (WireError,),
        "a frame made of what was read reads the same",
        longest=MAX_HEADER + MAX_CHUNK,
    ),
    Target("wire.json", ("lattice_agent.wire.base",), _json, (WireError,), "no half of a surrogate pair comes in"),
)
