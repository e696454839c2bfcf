"""The console's files: static pages, served from memory under their own names to whoever reaches the listener.

They hold no data and no secrets, so no token is asked for; everything they show they ask of the other routes, with it.
A name is looked up in a table of what was shipped, so no path can lead anywhere else. The policy of the page (CSP 3)
lets it load its own files alone, run no inline script, and be framed by nobody.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.surfaces.admin_route import AdminRequest, Reply, Route
from proxy.surfaces.query import parameters

FOLDER = "/console/"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


class File(Struct, frozen=True):
    body: bytes
    content_type: str
    etag: str


class ConsoleRoutes:
    def routes(self) -> list[Route]:
        return [Route("GET", "/", self.page), Route("GET", FOLDER + "{file}", self.file)]

    async def page(self, asked: AdminRequest) -> Reply:
        """Its address may carry a view's filters; they are read in the browser."""
        return self._reply(asked, "index.html")

    async def file(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return self._reply(asked, asked.params["file"])

    @cached_property
    def _files(self) -> dict[str, File]:
        return {each.name: _read(each) for each in resources.files("proxy.console").iterdir() if _known(each)}

    def _reply(self, asked: AdminRequest, name: str) -> Reply:
        file = self._files.get(name)
        if file is None:
            raise ProxyError("unknown_path", "there is nothing at this path")
        headers = (("ETag", file.etag), ("Cache-Control", "no-cache"), ("Content-Security-Policy", PAGE_POLICY))
        if file.etag in [tag.strip() for tag in asked.headers.get("if-none-match", "").split(",")]:
            return Reply(b"", status=304, content_type=file.content_type, headers=headers)
        return Reply(file.body, content_type=file.content_type, headers=headers)


def _known(file: Traversable) -> bool:
    return file.is_file() and file.name.rpartition(".")[2] in TYPES


def _read(file: Traversable) -> File:
    body = file.read_bytes()
    return File(body, TYPES[file.name.rpartition(".")[2]], f'"{sha256(body).hexdigest()[:24]}"')
