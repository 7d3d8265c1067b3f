"""The first operator token: somebody has to be able to make the others."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from server_stub.actions.registry import add_operator
from server_stub.config import Limits
from server_stub.errors import SettingsError
from server_stub.ids import new_operator_token
from server_stub.store.base import Store

_FIRST: Final = "admin"


def create_operator_token(store: Store, name: str) -> str:
    """Registers an operator and returns the token; ``Refused`` 409 when the name was used before."""
    token = new_operator_token()
    store.write(lambda tables: add_operator(tables, "bootstrap", name, token, datetime.now(UTC), Limits().operators))
    return token


def write_init_token(store: Store, path: str) -> bool:
    """Writes the first operator's token to ``path`` (mode 0600, whole or not at all); ``False`` if there is one.

    The file comes first: killed in between, the token in it is worth nothing, and the next start writes another.
    ``SettingsError`` when the file cannot be written.
    """
    if store.read(lambda tables: tables.operators.all()):
        return False
    token = new_operator_token()
    try:
        write_private(Path(path), token + "\n")
    except OSError as error:
        raise SettingsError(f"init token file {path}: {error.strerror}") from error
    store.write(lambda tables: add_operator(tables, "bootstrap", _FIRST, token, datetime.now(UTC), Limits().operators))
    return True


def write_private(path: Path, text: str) -> None:
    """Replaces the file in one step; at no moment is it readable for others or half written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
