"""Tells the gate under test who loads it, so that its dashboards show the users beside what they cause.

`POST /loadtest` on the admin listener: when their number changes, and now and then, as a gate takes a test that says
nothing for half a minute for one that has ended. A gate without that path is loaded all the same.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable

EVERY_S = 1.0
AGAIN_S = 10.0


class Teller:
    """`url`: of the admin listener."""

    def __init__(self, url: str, test: str, scenario: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.failed = ""  # why the gate did not take the last word
        self._url = url.rstrip("/") + "/loadtest"
        self._names = {"test": test, "scenario": scenario}
        self._clock = clock
        self._said: tuple[int, float] | None = None

    def tell(self, users: int) -> None:
        """Says it, if there is something new to say."""
        now = self._clock()
        if self._said is not None and self._said[0] == users and now - self._said[1] < AGAIN_S:
            return
        self._said = users, now
        body = json.dumps({**self._names, "users": users}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5):
                self.failed = ""
        except (urllib.error.URLError, OSError) as error:
            self.failed = str(error)

    def keep(self, users: Callable[[], int], goes_on: Callable[[], bool]) -> None:
        """Until the test ends, and then that it has ended."""
        while goes_on():
            self.tell(users())
            time.sleep(EVERY_S)
        self.tell(0)
