"""Finds the elements in an HTML source that has Jinja in it, without changing a character.

An HTML parser would mend what it takes for mistakes: a ``{% for %}`` between two rows is moved
out of its table, a quote inside of an expression ends an attribute. Here the Jinja is masked,
character for character, and the start tags are read from what is left.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.spans import Span, SpanKind, conditional_at

_MASK = "\ue000"
_TAG = re.compile(r"<(?:(?P<comment>!--)|(?P<bogus>[!?])|(?P<close>/?)(?P<name>[A-Za-z][^\s/>]*))")
_ATTRIBUTE = re.compile(
    r"""[\s/\ue000]*(?P<name>[^\s/>=\ue000]+)
        (?:\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s>"'][^\s>]*)))?""",
    re.VERBOSE,
)
_RAW_TEXT = frozenset({"style", "script", "title", "textarea", "xmp", "iframe", "noframes"})
"""Elements whose content has no tags (HTML Living Standard 13.2.5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """An attribute; its value is ``source[start:end]``, without the quotes."""

    name: str
    start: int
    end: int
    quote: str
    conditional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A start or end tag at ``source[start:end]``; an end tag has no attributes."""

    name: str
    start: int
    end: int
    closing: bool = False
    attributes: tuple[Attribute, ...] = ()

    def attribute(self, name: str) -> Attribute | None:
        """The first attribute of that name; HTML ignores any further one."""
        return next((one for one in self.attributes if one.name == name), None)


def find_tags(source: str, spans: list[Span]) -> list[Tag]:
    """The tags of a source, in order; those in comments and raw text are none."""
    masked = mask(source, spans)
    tags: list[Tag] = []
    position = 0
    while found := _TAG.search(masked, position):
        if found["comment"]:
            position = _after(masked, "-->", found.end())
        elif found["bogus"]:
            position = _after(masked, ">", found.end())
        else:
            tag = _read_tag(masked, found, spans)
            tags.append(tag)
            position = tag.end
            if tag.name in _RAW_TEXT and not tag.closing:
                end = re.compile(rf"</{tag.name}[\s/>]", re.IGNORECASE).search(masked, position)
                position = end.start() if end else len(masked)
    return tags


def mask(source: str, spans: list[Span]) -> str:
    """The source with each character of its Jinja replaced by one that means nothing in HTML."""
    pieces: list[str] = []
    position = 0
    for span in spans:
        pieces += source[position : span.start], _MASK * (span.end - span.start)
        position = span.end
    return "".join((*pieces, source[position:]))


def refuse_open_values(source: str, spans: list[Span], tags: list[Tag], file: str) -> None:
    """Check that each expression in a tag stands in a quoted value.

    Anywhere else escaping does not help: a blank in the value begins an attribute of its own.

    Raises:
        TemplateError: with the line of the first that does not.
    """
    for span in spans:
        if span.kind is SpanKind.EXPRESSION and _is_open(source, span, tags):
            raise TemplateError(
                f"{source[span.start : span.end]} in a tag has no quotes around.",
                file=file,
                line=source.count("\n", 0, span.start) + 1,
                mend='Write name="{{ value }}".',
            )


def _is_open(source: str, span: Span, tags: list[Tag]) -> bool:
    if source[: span.start].endswith(("<", "</")):
        return True
    before = bisect_left(tags, span.start, key=lambda tag: tag.start)
    if not before or span.start >= tags[before - 1].end:
        return False
    quoted = [one for one in tags[before - 1].attributes if one.quote]
    return not any(one.start <= span.start < one.end for one in quoted)


def _read_tag(masked: str, found: re.Match[str], spans: list[Span]) -> Tag:
    position = found.end()
    attributes: list[Attribute] = []
    while (match := _ATTRIBUTE.match(masked, position)) is not None:
        kind = match.lastgroup if match.lastgroup != "name" else None
        start, end = match.span(kind) if kind else (match.end(), match.end())
        attributes.append(
            Attribute(
                name=match["name"].lower(),
                start=start,
                end=end,
                quote={"double": '"', "single": "'"}.get(kind or "", ""),
                conditional=conditional_at(spans, found.start(), match.start("name")),
            )
        )
        position = match.end()
    return Tag(
        name=found["name"].strip(_MASK).lower(),
        start=found.start(),
        end=_after(masked, ">", position),
        closing=bool(found["close"]),
        attributes=tuple(attributes),
    )


def _after(text: str, mark: str, position: int) -> int:
    found = text.find(mark, position)
    return len(text) if found < 0 else found + len(mark)
