from __future__ import annotations

import sys

from proxy.cascading import LateForms


def test_the_library_for_schemas_is_loaded_with_the_first_question() -> None:
    forms = LateForms()
    assert repr(forms) == "LateForms(None)"
    assert forms.fault(b'{"type":"object"}', "[]") == "its top: against 'type'"
    assert forms.finds("a", "banana") is True
    assert "proxy.execution.forms" in sys.modules
    assert forms.load() is forms.load()
