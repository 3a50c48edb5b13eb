"""Operations that could make much of little, each with an upper bound.

Jinja's sandbox keeps a template away from Python's insides; it does not keep it from asking for
a terabyte. Whatever multiplies text or numbers is replaced by one of these or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from functools import lru_cache, wraps
from itertools import islice
from time import monotonic
from typing import Any

from jinja2 import Environment, Undefined, pass_context, pass_environment, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from markupsafe import Markup, escape

from ignition_ext.templates.rendering.limits import (
    FORMATS_KEPT,
    MAX_DIGITS,
    MAX_ELEMENTS,
    MAX_INTEGER_BITS,
    MAX_ITERATIONS,
    MAX_NESTING,
    MAX_OUTPUT_CHARS,
    MAX_REMEMBERED_CHARS,
    MAX_SECONDS,
)

BUDGET = "@budget"
"""Key of the :class:`Budget` in a template's context; no expression can name it."""
_CONTAINERS = (list, tuple, dict, set, frozenset)


class LimitExceeded(SecurityError):
    """A template asked for more than :mod:`..limits` allows."""


class Budget:
    """What is left of one message's loop passes, calls and time."""

    __slots__ = ("deadline", "left")

    def __init__(self) -> None:
        self.left = MAX_ITERATIONS
        self.deadline = 0.0

    def spend(self, count: int = 1) -> None:
        """Take some; raises :class:`LimitExceeded` when nothing is left."""
        self.left -= count
        if self.left < 0:
            raise LimitExceeded(f"more than {MAX_ITERATIONS} loop passes and calls")
        self.look()

    def look(self) -> None:
        """Look at the clock; raises :class:`LimitExceeded` when the message's time is over."""
        now = monotonic()
        if not self.deadline:
            self.deadline = now + MAX_SECONDS
        elif now > self.deadline:
            raise LimitExceeded(f"more than {MAX_SECONDS:g} seconds")


def gather(parts: Iterable[str]) -> list[str]:
    """What a template yields, counted on the way."""
    pieces: list[str] = []
    keep, size = pieces.append, 0
    for part in parts:
        size += len(part)
        if size > MAX_OUTPUT_CHARS:
            raise LimitExceeded(f"more than {MAX_OUTPUT_CHARS} characters")
        keep(part)
    return pieces


def concat(parts: Iterable[str]) -> str:
    """Join what a template yields, counting on the way."""
    return "".join(gather(parts))


def finalize(value: Any) -> Any:
    """What an expression prints: text and numbers, never a hole or a container's repr."""
    if value is None:
        raise ValueError("an empty value would be printed; use |default(…) or {% if %}")
    if isinstance(value, _CONTAINERS):
        raise ValueError(f"a {type(value).__name__} cannot be printed; loop over it or use |join")
    return value


def printed_text(value: Any) -> str:
    """What an expression prints in a text file."""
    return value if type(value) is str else str(finalize(value))


def printed_markup(value: Any) -> str:
    """What an expression prints in a page: text is escaped, markup that Jinja made is not."""
    if type(value) is not str:
        return escape(finalize(value))
    text: str = value
    if text.isalnum():
        return text
    # As markupsafe writes it, without making an object of it: it is a piece of a page already.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;")


def checked_size(value: Any) -> Any:
    """The value itself, unless it is text or a list beyond the bounds."""
    if isinstance(value, str) and len(value) > MAX_OUTPUT_CHARS:
        raise LimitExceeded(f"more than {MAX_OUTPUT_CHARS} characters")
    if isinstance(value, list | tuple) and len(value) > MAX_ITERATIONS:
        raise LimitExceeded(f"a list of more than {MAX_ITERATIONS}")
    return value


def add(left: Any, right: Any) -> Any:
    """``+``, whose result is measured before a loop can double it again."""
    return shallow(checked_size(left + right))


def multiply(left: Any, right: Any) -> Any:
    """``*`` for numbers; repeating text is refused beyond the bounds, and lists of lists at all."""
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_INTEGER_BITS:
            raise LimitExceeded(f"an integer of more than {MAX_INTEGER_BITS} bits")
        return left * right
    for sequence, count in ((left, right), (right, left)):
        repeats = isinstance(sequence, str | list | tuple | bytes) and isinstance(count, int)
        if repeats and len(sequence) * count > MAX_ITERATIONS:
            raise LimitExceeded(f"a repetition longer than {MAX_ITERATIONS}")
        if repeats and isinstance(sequence, list | tuple) and any(map(_is_container, sequence)):
            raise LimitExceeded("a repetition of lists")
    return left * right


def power(left: Any, right: Any) -> Any:
    """``**`` for numbers of ordinary size."""
    whole = isinstance(left, int) and isinstance(right, int)
    if whole and left.bit_length() * max(right, 0) > MAX_INTEGER_BITS:
        raise LimitExceeded(f"an integer of more than {MAX_INTEGER_BITS} bits")
    return left**right


def modulo(left: Any, right: Any) -> Any:
    """``%`` for numbers; as a format operator it could pad to any width."""
    if isinstance(left, str | bytes):
        raise SecurityError("% does not format text here; write {{ }} instead")
    return left % right


def limited_range(*bounds: int) -> range:
    """``range`` up to the number of loop passes that a message has."""
    numbers = range(*bounds)
    if len(numbers) > MAX_ITERATIONS:
        raise LimitExceeded(f"a range of more than {MAX_ITERATIONS}")
    return numbers


@pass_context
def counted(context: Context, values: Any) -> Any:
    """What a loop runs over, charged to the message's budget."""
    budget: Budget = context.parent[BUDGET]
    if isinstance(values, Sized) and not isinstance(values, Undefined):
        budget.spend(len(values))
        return values
    return _charged(values, budget)


def _charged(values: Iterable[Any], budget: Budget) -> Iterator[Any]:
    for value in values:
        budget.spend()
        yield value


@pass_eval_context
def joined(eval_context: EvalContext, values: Iterable[Any], separator: Any = "") -> str:
    """``|join`` and ``~``: scalars only, measured while they are put together."""
    turn = printed_markup if eval_context.autoescape else printed_text
    between = turn(separator) if separator != "" else ""
    pieces: list[str] = []
    size = 0
    for value in islice(values, MAX_ITERATIONS + 1):
        piece = turn(value)
        size += len(piece) + len(between)
        if size > MAX_OUTPUT_CHARS:
            raise LimitExceeded(f"more than {MAX_OUTPUT_CHARS} characters")
        pieces.append(piece)
    checked_size(pieces)
    text = between.join(pieces)
    return Markup(text) if eval_context.autoescape else text  # noqa: S704 - each piece is escaped


def shallow(value: Any) -> Any:
    """A list or mapping that a template built, refused when it is nested deeply or widely."""
    depth, left = 0, MAX_ELEMENTS
    level = [value] if _is_container(value) else []
    while level:
        depth += 1
        if depth > MAX_NESTING:
            raise LimitExceeded(f"lists nested more than {MAX_NESTING} deep")
        inside: list[Any] = []
        for container in level:
            left -= len(container)
            if left < 0:
                raise LimitExceeded(f"lists in lists with more than {MAX_ELEMENTS} elements")
            items = container.values() if isinstance(container, dict) else container
            inside += filter(_is_container, items)
        level = inside
    return value


def _is_container(value: Any) -> bool:
    return isinstance(value, _CONTAINERS)


@pass_context
def mapped(context: Context, values: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
    """``|map``, whose results are measured together: of one text it can make thousands."""
    budget: Budget = context.parent[BUDGET]
    left = MAX_OUTPUT_CHARS
    for made in FILTERS["map"](context, values, *arguments, **named):
        left -= len(made) if isinstance(made, (str, *_CONTAINERS)) else 1
        if left < 0:
            raise LimitExceeded(f"|map made more than {MAX_OUTPUT_CHARS} characters")
        budget.look()
        yield made


@pass_environment
def summed(
    environment: Environment, values: Iterable[Any], attribute: Any = None, start: Any = 0
) -> Any:
    """``|sum`` of numbers; lists would be copied once for each of them."""
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    total = _number(start)
    for value in values:
        total = add(total, _number(value))
    return total


def _number(value: Any) -> Any:
    if isinstance(value, (str, bytes, *_CONTAINERS)):
        raise ValueError(f"sum adds numbers, not a {type(value).__name__}")
    return value


def scalar_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja's that turns its argument into text, for text and numbers only."""
    remembered = lru_cache(maxsize=FORMATS_KEPT)(function)

    @wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        if len(arguments) == 1 and not named:
            value = arguments[0]
            if type(value) is str and len(value) <= MAX_REMEMBERED_CHARS:
                return remembered(value)
        for argument in arguments:
            if isinstance(argument, _CONTAINERS):
                raise ValueError(f"{function.__name__.removeprefix('do_')} takes text, not a list")
        return checked_size(function(*arguments, **named))

    return checked


@pass_eval_context
def replace(eval_context: EvalContext, text: Any, old: Any, new: Any) -> str:
    """``|replace``, measured before it happens."""
    text, old, new = (
        str(finalize(part)) if not isinstance(part, str) else part for part in (text, old, new)
    )
    if len(text) + text.count(old) * len(new) > MAX_OUTPUT_CHARS:
        raise LimitExceeded(f"more than {MAX_OUTPUT_CHARS} characters")
    result: str = FILTERS["replace"](eval_context, text, old, new)
    return result


def default(value: Any, fallback: Any = "", boolean: bool = False) -> Any:
    """``|default``: also for NULL, a missing value; with ``boolean`` for empty text too."""
    missing = value is None or isinstance(value, Undefined)
    return fallback if missing or (boolean and not value) else value


def round_number(value: Any, precision: int = 0, method: str = "common") -> Any:
    """``|round`` to a number of digits that a number has."""
    if abs(precision) > MAX_DIGITS:
        raise LimitExceeded(f"round takes at most {MAX_DIGITS} digits")
    return FILTERS["round"](value, precision, method)
