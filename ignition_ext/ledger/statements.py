"""The ledger's SQL, from the ``.sql`` files beside the code."""

from __future__ import annotations

from collections.abc import Mapping

from ignition_ext import statements


def load_statements(*names: str) -> Mapping[str, str]:
    """The statements of some files by name, read once in a process.

    Raises:
        ValueError: a name stands twice.
    """
    return statements.load_statements("ignition_ext.ledger", *names)
