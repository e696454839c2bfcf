"""Header fields of a reply, as a mapping."""

from __future__ import annotations

import pytest

from proxy.providers.fields import Fields


def test_a_field_is_found_in_any_case_and_listed_in_lower_case() -> None:
    fields = Fields({"retry-after": "7", "x": ""})
    assert fields["Retry-AFTER"] == fields.get("RETRY-AFTER") == "7" and "X" in fields
    assert (list(fields), dict(fields.items()), len(fields)) == (["retry-after", "x"], {"retry-after": "7", "x": ""}, 2)


def test_what_is_not_there_is_not_found() -> None:
    assert Fields({}).get("X", "else") == "else"
    with pytest.raises(KeyError):
        Fields({"x": "1"})["y"]


def test_fields_show_no_values() -> None:
    assert repr(Fields({"x-key": "canary"})) == "Fields(x-key)"
