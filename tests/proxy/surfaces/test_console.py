from __future__ import annotations

import re
from importlib import resources

import pytest

from proxy.errors import ProxyError
from proxy.secret import Secret
from proxy.surfaces.admin_guard import Guard, Rules
from proxy.surfaces.admin_route import AdminRequest, Routes
from proxy.surfaces.console import FOLDER, ConsoleRoutes
from tests.proxy.admin import asking

FILES = sorted(file.name for file in resources.files("proxy.console").iterdir() if file.is_file())
OURS = [name for name in FILES if name.endswith(".js") and name != "uplot.js"]
# Everything by which text becomes markup or code.
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML"
    r"|\beval\(|new Function|javascript:|\.cookie\b|localStorage|sessionStorage"
)


def text(name: str) -> str:
    return resources.files("proxy.console").joinpath(name).read_text()


def guard() -> Guard:
    rules = Rules(lambda audit: None, Secret("a-token"), frozenset(), ())
    return Guard(rules, ConsoleRoutes().routes())


async def test_every_file_is_served_with_its_type_a_tag_and_the_policy_and_needs_no_token() -> None:
    async with asking(guard()) as client:
        for path in ("/", *(FOLDER + name for name in FILES)):
            reply = await client.get(path)
            assert reply.status == 200, path
            policy = reply.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy and "http" not in policy
            assert reply.headers.getall("Cache-Control") == ["no-cache"]
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert (await client.get(path, headers={"If-None-Match": reply.headers["ETag"]})).status == 304
        assert (await client.get(FOLDER + "app.js")).content_type == "text/javascript"
        assert (await client.get("/", headers={"If-None-Match": '"old"'})).status == 200


async def served(asked: AdminRequest) -> None:
    handler, asked.params = Routes(ConsoleRoutes().routes()).find("GET", asked.path)
    await handler(asked)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "..%2fadmin.py",
            "%2e%2e%2f__init__.py",
            "..",
            "../admin.py",
            "app.js/",
            "app.js%00",
            "./app.js",
            "no.js",
            "",
        ),
        *("%2fetc%2fpasswd", "..%5capp.js", "app.js%2f..%2fapp.js", "APP.JS"),
    ],
)
async def test_no_path_leads_out_of_the_table(path: str) -> None:
    """Past a client that would clean it up."""
    asked = AdminRequest("GET", FOLDER + path, "", {}, "127.0.0.1")
    with pytest.raises(ProxyError, match="nothing at this path"):
        await served(asked)


def test_nothing_is_asked_of_another_host_and_nothing_stands_inline() -> None:
    page = text("index.html")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?:", page)
    for name in [*OURS, "console.css", "uplot.css"]:
        assert not re.search(r"https?://|@import|\burl\(", text(name)), name


@pytest.mark.parametrize("name", OURS)
def test_no_text_can_become_markup_and_the_token_stays_in_memory(name: str) -> None:
    assert not MARKUP.search(text(name))


def test_modules_import_only_what_is_served() -> None:
    for name in OURS:
        for other in re.findall(r'from "\./([^"]+)"', text(name)):
            assert other in FILES, (name, other)


def test_the_library_that_is_not_ours_keeps_its_licence() -> None:
    licence = text("uplot-licence.txt")
    assert "uPlot" in text("uplot.js")[:80] and "MIT" in licence and "Leon Sorokin" in licence
