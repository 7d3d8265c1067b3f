"""Files of the page that never change: served under the digest of their content, so that a browser keeps them for
good and a new version has a new address."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.errors import Refused

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_DIGITS: Final = 16


@dataclass(frozen=True)
class _File:
    content: bytes
    digest: str
    media_type: str


def static_url(name: str) -> str:
    """Where a template finds the file; ``KeyError`` for one that there is not."""
    return f"/static/{_files()[name].digest}/{name}"


async def serve_file(request: Request) -> Response:
    """An old digest gets the present file too, but is not to be kept: the page that named it is older than us.

    Modules name each other without a digest (``./ansi.js``), which resolves to the digest of the one that asks.
    """
    file = _files().get(request.path_params["name"])
    if file is None:
        raise Refused(404, "no such file")
    kept = request.path_params["digest"] == file.digest
    headers = {
        "cache-control": "public, max-age=31536000, immutable" if kept else "no-cache",
        "etag": f'"{file.digest}"',
        "cross-origin-resource-policy": "same-origin",
        # For an image that somebody opens by itself.
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


@cache
def _files() -> dict[str, _File]:
    """Read once, some 50 kB; a name from a request is looked up here and never made into a path."""
    return {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, hashlib.sha256(content).hexdigest()[:_DIGITS], _TYPES[path.suffix])


def routes() -> list[BaseRoute]:
    return [Route("/static/{digest}/{name}", serve_file, methods=["GET"])]
