from __future__ import annotations

import sys

import pytest

from proxy.cli.by_name import function


def test_a_module_is_loaded_when_its_function_is_asked_for() -> None:
    sys.modules.pop("proxy.cli.version", None)
    assert function("proxy.cli.version:show").__module__ == "proxy.cli.version"
    assert "proxy.cli.version" in sys.modules


@pytest.mark.parametrize("reference", ["proxy.nowhere:show", "proxy.cli.version:nothing"])
def test_a_name_that_does_not_exist_is_an_error_at_once(reference: str) -> None:
    with pytest.raises((ImportError, AttributeError)):
        function(reference)
