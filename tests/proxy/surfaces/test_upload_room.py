"""Uploads in memory: as many as fit, of one owner no more than a quarter, and all of it is given back."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from proxy.errors import ProxyError
from proxy.surfaces.upload_room import LARGEST, UploadRoom


def test_one_owner_has_no_more_than_the_largest_upload_takes() -> None:
    room = UploadRoom()
    with ExitStack() as uploads:
        uploads.enter_context(room.held("a", 60, 100))
        uploads.enter_context(room.held("a", 40, 100))
        with pytest.raises(ProxyError) as refused, room.held("a", 1, 100):
            pass
        assert (refused.value.code, refused.value.retry_after_s) == ("rate_limit_exceeded", 2.0)
        uploads.enter_context(room.held("b", 100, 100))
    with room.held("a", 100, 100):
        pass
    assert repr(room) == "UploadRoom(0 bytes of 0)"


def test_all_owners_together_have_no_more_than_a_few_of_the_largest() -> None:
    room = UploadRoom()
    with ExitStack() as uploads:
        for owner in range(LARGEST):
            uploads.enter_context(room.held(str(owner), 100, 100))
        with pytest.raises(ProxyError, match="all others"), room.held("one more", 1, 100):
            pass
        assert repr(room) == f"UploadRoom({LARGEST * 100} bytes of {LARGEST})"


def test_an_upload_that_fails_gives_back_what_it_took() -> None:
    room = UploadRoom()
    with pytest.raises(OSError, match="disk"), room.held("a", 100, 100):
        raise OSError("disk")
    with room.held("a", 100, 100):
        pass
