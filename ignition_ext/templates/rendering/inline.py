"""Writes style sheets into the elements' ``style`` attributes, once, when a version is published.

css-inline decides which declarations an element gets; it never writes the template. It is shown
an :mod:`.outline` of the page, and what it answers is put into the source as ``style``
attributes. Every other character of the source, and with it all Jinja, stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from itertools import pairwise

import css_inline

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.markup import Tag
from ignition_ext.templates.rendering.outline import MARK, Outline, Page, value_mark
from ignition_ext.templates.rendering.sandbox import resolve_name
from ignition_ext.templates.rendering.spans import SpanKind

Numbers = dict[tuple[str, int], int]
_STAYS = re.compile(
    r"@|:{1,2}(?:hover|active|focus|visited|link|before|after|root|first-l)|!important"
)
"""What a style attribute cannot say; a sheet with any of it also stays in the page."""

_DECLARATION = re.compile(r"""(?:[^;"'(]|"[^"]*"|'[^']*'|\([^)]*\)|["'(])+""")


def inline_styles(pages: Mapping[str, Page], roots: Iterable[str]) -> dict[str, str]:
    """The sources of all pages, with styles written into the elements of those under ``roots``.

    An element that is shown in several places gets what it has in all of them; the sheets then
    stay in the page and say the rest, as they do for classes that depend on data.

    Raises:
        TemplateError: css-inline cannot read the page.
    """
    numbers: Numbers = {}
    values: list[str] = []
    styles: dict[int, list[str]] = {}
    drop = True
    for root in roots:
        found, depends = _styles(Outline(pages, numbers, values), root)
        drop &= not depends
        for number, here in found.items():
            styles.setdefault(number, []).extend(here)
    agreed = {number: _common(found) for number, found in styles.items()}
    drop &= all(len(set(found)) == 1 for found in styles.values())
    return {
        file: _Patch(pages, page, agreed, numbers, values, drop_sheets=drop).text
        for file, page in pages.items()
    }


def _styles(outline: Outline, root: str) -> tuple[dict[int, list[str]], bool]:
    """What each element under ``root`` gets, place by place, and if that depends on data."""
    outline.add(root)
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False)
    try:
        document = inliner.inline(outline.html)
    except (css_inline.InlineError, ValueError) as error:
        raise TemplateError(f"its style sheets cannot be read: {error}.", file=root) from error
    reader = _Reader()
    reader.feed(document)
    return reader.styles, outline.depends


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.styles: dict[int, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if (number := found.get(MARK)) is not None:
            style = " ".join((found.get("style") or "").split())
            self.styles.setdefault(int(number), []).append(style)


def _written(style: str, quote: str, values: list[str]) -> str:
    """Declarations as they stand between quotes in a source, the expressions back in place."""
    if "{" in style or "}" in style:
        return ""  # it would be read as Jinja; the sheet still says it
    text = style.replace("&", "&amp;").replace(quote, "&quot;" if quote == '"' else "&#39;")
    for number, value in enumerate(values):
        text = text.replace(value_mark(number), value)
    return text


def _common(styles: list[str]) -> str:
    if len(set(styles)) == 1:
        return styles[0]
    kept = [[part.strip() for part in _DECLARATION.findall(style)] for style in styles]
    return "; ".join(part for part in kept[0] if part and all(part in one for one in kept[1:]))


class _Patch:
    """A page's source with styles put in; line numbers stay what they were."""

    def __init__(
        self,
        pages: Mapping[str, Page],
        page: Page,
        styles: Mapping[int, str],
        numbers: Numbers,
        values: list[str],
        *,
        drop_sheets: bool,
    ) -> None:
        self._pages, self._page, self._values = pages, page, values
        self._edits: list[tuple[int, int, str]] = []
        skipped = False
        for tag in page.tags:
            style = styles.get(numbers.get((page.file, tag.start), -1), "")
            if style and not tag.closing:
                skipped |= not self._put(tag, style.rstrip("; "))
        if drop_sheets and not skipped:
            self._drop_sheets()

    @property
    def text(self) -> str:
        """The source with every edit made."""
        text = self._page.source
        for start, end, new in sorted(self._edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _put(self, tag: Tag, style: str) -> bool:
        """Write one element's style; False where only the sheet can say it."""
        own = tag.attribute("style")
        quote = (own and own.quote) or '"'
        text = _written(style, quote, self._values)
        if not text or (own and (own.conditional or own.start == own.end)):
            return False
        if own is None:
            after_name = tag.start + 1 + len(tag.name)
            self._edits.append((after_name, after_name, f' style="{text};"'))
        else:
            # What is written by hand comes last and so wins, as it does in the cascade.
            text = f"{text}; {self._page.source[own.start : own.end]}"
            self._edits.append((own.start, own.end, text if own.quote else f'"{text}"'))
        return True

    def _drop_sheets(self) -> None:
        for first, last in pairwise(self._page.tags):
            if first.name == last.name == "style" and last.closing and self._droppable(first, last):
                lines = self._page.source.count("\n", first.start, last.end)
                # A comment of as many lines, so that errors still name the right one.
                self._edits.append((first.start, last.end, "{#" + "\n" * lines + "#}"))

    def _droppable(self, first: Tag, last: Tag) -> bool:
        marked = {attribute.name for attribute in first.attributes}
        return not marked & {"media", "data-css-inline"} and self._said(
            self._page, first.end, last.start
        )

    def _said(self, page: Page, start: int, end: int) -> bool:
        """Whether style attributes say all that a piece of a sheet says."""
        if _STAYS.search(page.source, start, end):
            return False
        for span in page.spans:
            if not start <= span.start < end or span.kind is not SpanKind.STATEMENT:
                continue
            other = self._pages.get(resolve_name(span.literal, page.file))
            if span.keyword != "include" or other is None or other is page:
                return False
            if not self._said(other, 0, len(other.source)):
                return False
        return True
