"""`GET /events` on the admin listener: the live feed, from a snapshot or from where a viewer was cut off."""

from __future__ import annotations

from proxy.surfaces.admin_route import AdminRequest, Route, Streamed
from proxy.surfaces.feed import Feed
from proxy.surfaces.query import parameters


class EventRoutes:
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def routes(self) -> list[Route]:
        return [Route("GET", "/events", self.events)]

    async def events(self, asked: AdminRequest) -> Streamed:
        parameters(asked.query)
        return Streamed(self._feed.view(asked.headers.get("last-event-id")))
