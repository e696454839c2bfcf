"""What people do with the console, in Debian's Chromium: look at every view, walk by keyboard, give a token, read a
name that would like to be markup. `base_url` is the admin listener, `api_key` its token.

Pictures go to the folder in HEADGATE_IMAGES, if there is one; the docs show them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

VIEWS = ("live", "agents", "runs", "requests", "upstreams", "setup")
PICTURES = ("live", "agents", "upstreams", "setup")
RULES: Any = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
CHROMIUM = "/usr/bin/chromium"
WAIT_MS = 15_000


@contextmanager
def browsing(base_url: str, token: str, *, width: int = 1280, dark: bool = False) -> Iterator[tuple[Page, list[str]]]:
    """A tab that has given the token, and what went wrong in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width, "height": 720},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
        page.set_default_timeout(WAIT_MS)
        page.goto(base_url)
        page.fill("#token", token)
        page.press("#token", "Enter")
        page.wait_for_selector(".stats dd")
        yield page, wrong
        browser.close()


def _open(page: Page, base_url: str, address: str) -> None:
    page.goto(f"{base_url}/#/{address}")
    page.wait_for_selector("main h2, main table")
    page.wait_for_timeout(1_500)  # for what is asked after the frame stands


def _keep(page: Page, name: str) -> None:
    folder = os.environ.get("HEADGATE_IMAGES")
    if folder:
        page.screenshot(path=Path(folder) / f"console-{name}.png")


def _violations(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]


def _all_views(base_url: str, token: str, *, width: int, dark: bool) -> dict[str, Any]:
    seen: dict[str, Any] = {"violations": {}, "wider": {}}
    with browsing(base_url, token, width=width, dark=dark) as (page, wrong):
        for view in VIEWS:
            _open(page, base_url, view)
            seen["violations"][view] = _violations(page)
            seen["wider"][view] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if width > 1000 and view in PICTURES:
                if not dark or view == "live":
                    _keep(page, f"{view}-dark" if dark else view)
            elif view == "live":
                _keep(page, "narrow")
        seen["wrong"] = wrong
    return seen


def views(base_url: str, api_key: str) -> Any:
    return _all_views(base_url, api_key, width=1280, dark=False)


def views_in_the_dark(base_url: str, api_key: str) -> Any:
    return _all_views(base_url, api_key, width=1280, dark=True)


def views_on_a_telephone(base_url: str, api_key: str) -> Any:
    return _all_views(base_url, api_key, width=360, dark=False)


def one_run_and_one_request(base_url: str, api_key: str) -> Any:
    with browsing(base_url, api_key) as (page, wrong):
        _open(page, base_url, "runs/trip-1")
        run = {"words": page.inner_text("main"), "pieces": page.locator(".piece").count(), "axe": _violations(page)}
        _keep(page, "run")
        _open(page, base_url, "requests?agent=planner&served_by=primary")
        filters = page.input_value("input[name=agent]")
        page.locator("main a.open").first.click()
        page.wait_for_selector("main ol li")
        request = {"words": page.inner_text("main"), "axe": _violations(page)}
        page.set_viewport_size({"width": 1280, "height": 1280})
        _keep(page, "request")
        return {"run": run, "filters": filters, "request": request, "wrong": wrong}


def by_keyboard(base_url: str, api_key: str) -> Any:
    """Nothing but keys: to the requests, down two rows, into one, back, a filter, the help, and a pause."""
    with browsing(base_url, api_key) as (page, wrong):
        keys = page.keyboard
        keys.press("g")
        keys.press("q")
        page.wait_for_selector("main a.open")
        keys.press("j")
        keys.press("j")
        keys.press("Enter")
        page.wait_for_selector("main ol li")
        opened = page.url
        keys.press("Escape")
        page.wait_for_selector("main form.filters")
        keys.press("/")
        keys.type("nobody")
        keys.press("Enter")
        page.get_by_text("no call of that kind").wait_for()
        filtered = page.url
        page.focus("main")
        keys.press("?")
        helped = page.locator("#help").is_visible()
        keys.press("Escape")
        keys.press("g")
        keys.press("l")
        page.wait_for_selector(".stats dd")
        keys.press("p")
        paused = page.locator("main button").first.inner_text()
        return {"opened": opened, "filtered": filtered, "helped": helped, "paused": paused, "wrong": wrong}


def hostile_names(base_url: str, api_key: str) -> Any:
    with browsing(base_url, api_key) as (page, wrong):
        shown: dict[str, bool] = {}
        for view in ("live", "agents", "runs", "requests"):
            _open(page, base_url, view)
            shown[view] = "<img src=x" in page.inner_text("main")
        _open(page, base_url, "requests?status=404")
        page.locator("main a.open").first.click()
        page.wait_for_selector("main ol li")
        shown["request"] = "<img src=x" in page.inner_text("main")
        return {
            "shown": shown,
            "images": page.locator("main img").count(),
            "hit": page.evaluate("window.hit === undefined"),
            "wrong": wrong,
        }


def a_key_is_shown_once(base_url: str, api_key: str) -> Any:
    with browsing(base_url, api_key) as (page, wrong):
        _open(page, base_url, "setup")
        page.get_by_label("Agent", exact=True).fill("planner")
        page.get_by_role("button", name="Create a key").click()
        key = page.locator(".secret code").inner_text()
        page.get_by_role("button", name="I have it").click()
        gone = key not in page.content()
        revoke = page.get_by_role("button", name=f"Revoke {key.split('-')[1]}")
        revoke.click()
        page.get_by_role("button", name="Yes").click()
        page.locator(".mark", has_text="revoked").wait_for()
        stored = page.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
        return {"key": key, "gone": gone, "stored": stored, "wrong": wrong}
