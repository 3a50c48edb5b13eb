"""Where Jinja's tags stand in a source, found by Jinja's own lexer."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from ignition_ext.templates.rendering.sandbox import TemplateEnvironment


class SpanKind(StrEnum):
    """What a piece of Jinja in a source is."""

    EXPRESSION = "variable"
    STATEMENT = "block"
    COMMENT = "comment"
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One ``{{ … }}``, ``{% … %}`` or ``{# … #}`` at ``source[start:end]``, with its tokens."""

    kind: SpanKind
    start: int
    end: int
    words: tuple[str, ...]

    @property
    def keyword(self) -> str:
        """A statement's first word, such as ``if``; empty for anything else."""
        return self.words[0] if self.kind is SpanKind.STATEMENT and self.words else ""

    @property
    def literal(self) -> str:
        """The first text in quotes, without them; empty when there is none."""
        return next((word[1:-1] for word in self.words if word[0] in "\"'"), "")

    @property
    def calls(self) -> list[str]:
        """The names that are called: ``button`` for ``button(…)`` and for ``m.button(…)``."""
        return [name for name, mark in pairwise(self.words) if mark == "(" and name.isidentifier()]

    @property
    def opens(self) -> bool:
        """Whether a statement has a body that ends with ``end…``."""
        if self.keyword == "set":
            marks = [
                word for word in self.words[1:] if not word.isidentifier() and word not in ",."
            ]
            return not marks or marks[0] != "="
        return self.keyword in _OPENING

    @property
    def closes(self) -> str:
        """The keyword that an ``end…`` statement ends, else empty."""
        return self.keyword.removeprefix("end") if self.keyword.startswith("end") else ""


_OPENING = frozenset({"block", "if", "for", "macro", "call", "filter", "with"})


def find_spans(environment: TemplateEnvironment, source: str) -> list[Span]:
    """Every piece of Jinja in a source that can be parsed, in order; all else is plain text."""
    spans: list[Span] = []
    position = start = 0
    words: list[str] = []
    for _, kind, value in environment.lex(source):
        # The lexer leaves out white space that will not be shown; nothing else is ever left out.
        while not source.startswith(value, position):
            position += 1
        family, _, edge = kind.partition("_")
        if edge == "begin":
            start, words = position, []
        elif not edge and kind not in ("data", "whitespace"):
            words.append(value)
        position += len(value)
        if edge == "end" or kind == "raw_begin":
            span_kind = SpanKind(family)
            spans.append(Span(kind=span_kind, start=start, end=position, words=tuple(words)))
    return spans


def conditional_at(spans: list[Span], start: int, position: int) -> bool:
    """Whether ``position`` is inside of a statement's body that began after ``start``."""
    inside = spans_within(spans, start, position)
    return sum(span.opens - bool(span.closes) for span in inside) > 0


def spans_within(spans: list[Span], start: int, end: int) -> list[Span]:
    """The spans that begin in ``source[start:end]``."""
    low = bisect_left(spans, start, key=_start)
    return spans[low : bisect_left(spans, end, lo=low, key=_start)]


def _start(span: Span) -> int:
    return span.start
