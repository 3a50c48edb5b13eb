"""The reference page says what the code says."""

from __future__ import annotations

from ignition_ext.devtools.reference import PAGE, page


def test_the_reference_page_is_in_step_with_the_code() -> None:
    """`make docs` was run after the last change of a setting, table, error or state."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"
