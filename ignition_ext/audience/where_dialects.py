"""How each database writes the pieces of a condition, so that both mean the same."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

LOWER, UPPER = "ignition_lower", "ignition_upper"
"""SQLite's own fold only ASCII; these are registered on the connection."""


class Spelling(Protocol):
    """One dialect. Arguments and results are SQL, except where they say otherwise."""

    def parameter_of(self, column: str) -> str | None:
        """The value of the parameter by which a column is named; None: it needs none."""
        ...

    def text_parameter(self, placeholder: str) -> str: ...

    def number_parameter(self, placeholder: str) -> str: ...

    def decimal(self, number: Decimal) -> Any:
        """The number as the driver takes it."""
        ...

    def number(self, text: str) -> str:
        """The number that a text is, NULL where it is none."""
        ...

    def by_code_point(self, text: str) -> str: ...

    def lower(self, text: str) -> str: ...

    def upper(self, text: str) -> str: ...

    def like(self, text: str, pattern: str, parameter: Callable[[Any], str]) -> str:
        """Whether a text matches ``pattern`` (a value); ``parameter`` makes it one."""
        ...


class SqliteSpelling:
    """SQLite. Connections need :func:`register_functions`."""

    def __init__(self, *, json: bool = True) -> None:
        self._json = json

    def parameter_of(self, column: str) -> str | None:
        return f'$."{column}"' if self._json else None

    def text_parameter(self, placeholder: str) -> str:
        return placeholder

    def number_parameter(self, placeholder: str) -> str:
        return placeholder

    def decimal(self, number: Decimal) -> Any:
        whole = number == number.to_integral_value() and abs(number) < 2**63
        return int(number) if whole else float(number)

    def number(self, text: str) -> str:
        digits = f"(ltrim(substr(trim({text}), 1, 1), '+-') || substr(trim({text}), 2))"
        return (
            f"(CASE WHEN {digits} GLOB '[0-9]*' AND {digits} NOT GLOB '*[^0-9.]*'"
            f" AND {digits} NOT GLOB '*.*.*' THEN CAST(trim({text}) AS NUMERIC) END)"
        )

    def by_code_point(self, text: str) -> str:
        return text

    def lower(self, text: str) -> str:
        return f"{LOWER}({text})"

    def upper(self, text: str) -> str:
        return f"{UPPER}({text})"

    def like(self, text: str, pattern: str, parameter: Callable[[Any], str]) -> str:
        # LIKE folds ASCII case here, GLOB does not.
        escaped = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in pattern)
        glob = escaped.replace("%", "*").replace("_", "?")
        return f"({text} GLOB {parameter(glob)})"


class PostgresSpelling:
    """PostgreSQL."""

    def __init__(self, *, json: bool = True) -> None:
        self._json = json

    def parameter_of(self, column: str) -> str | None:
        return column if self._json else None

    def text_parameter(self, placeholder: str) -> str:
        return f"CAST({placeholder} AS text)"

    def number_parameter(self, placeholder: str) -> str:
        return f"CAST({placeholder} AS numeric)"

    def decimal(self, number: Decimal) -> Any:
        return number

    def number(self, text: str) -> str:
        digits = r"'^[-+]?[0-9]+(\.[0-9]*)?$'"
        return f"(CASE WHEN trim({text}) ~ {digits} THEN CAST(trim({text}) AS numeric) END)"

    def by_code_point(self, text: str) -> str:
        return f'({text}) COLLATE "C"'

    def lower(self, text: str) -> str:
        return f"lower({text})"

    def upper(self, text: str) -> str:
        return f"upper({text})"

    def like(self, text: str, pattern: str, parameter: Callable[[Any], str]) -> str:
        return f"({text} LIKE {self.text_parameter(parameter(pattern))} ESCAPE '')"


def fold_lower(value: Any) -> Any:
    """``lower()`` for SQLite, over all of Unicode."""
    return value.lower() if isinstance(value, str) else value


def fold_upper(value: Any) -> Any:
    """``upper()`` for SQLite, over all of Unicode."""
    return value.upper() if isinstance(value, str) else value


def register_functions(create_function: Callable[..., Any]) -> tuple[Any, Any]:
    """Register what :class:`SqliteSpelling` calls, by a connection's ``create_function``.

    Returns what the two calls return, to be awaited where the driver is asynchronous.
    """
    return (
        create_function(LOWER, 1, fold_lower, deterministic=True),
        create_function(UPPER, 1, fold_upper, deterministic=True),
    )
