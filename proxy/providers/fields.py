"""The header fields of a reply, as everybody above the wire sees them: names in lower case, the first value of a name.

What is listed shows no values: some of them are credentials.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping


class Fields(Mapping[str, str]):
    """Header fields, found in any case and listed in lower case. Of several with one name the first counts."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[str, str]:
        return self._values.items()

    def __repr__(self) -> str:
        return f"Fields({', '.join(self._values)})"
