"""Puts a page together from its files, as a document that only shows its elements.

The outline is what style sheets are matched against: layout, blocks and includes in their
places, every element marked with a number, all texts and values left out. What depends on a
recipient's data is there in each of its forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.markup import Attribute, Tag, find_tags
from ignition_ext.templates.rendering.sandbox import TemplateEnvironment, resolve_name, source_text
from ignition_ext.templates.rendering.spans import (
    Span,
    SpanKind,
    conditional_at,
    find_spans,
    spans_within,
)

MARK = "data-ignition-mark"
MAX_PIECES = 100_000
"""Tags of one outline. A long newsletter has 2,000; includes in includes double quickly."""

_SCREEN_MEDIA = frozenset({"", "all", "screen"})


@dataclass(slots=True)
class Group:
    """A statement with a body: a block, a loop, a condition …"""

    span: Span
    children: list[Item] = field(default_factory=list)


Text = tuple[int, int]
Item = Group | Span | Tag | Text


class Page:
    """One file: its Jinja, its tags, and how its statements nest."""

    def __init__(
        self, environment: TemplateEnvironment, files: Mapping[str, str], file: str
    ) -> None:
        self.file = file
        self.source = source_text(files, file)
        self.spans = find_spans(environment, self.source)
        self.tags = find_tags(self.source, self.spans) if file.endswith(".html") else []
        self.root = _nest(self.source, self.spans, self.tags)
        self.blocks = self._named("block")
        self.macros = self._named("macro")

    def _named(self, keyword: str) -> dict[str, Group]:
        return {
            group.span.words[1]: group
            for group in _groups(self.root)
            if group.span.keyword == keyword and len(group.span.words) > 1
        }

    @property
    def parent(self) -> str | None:
        """The file that this one extends."""
        for span in self.spans:
            if span.keyword == "extends":
                return resolve_name(span.literal, self.file)
        return None

    def depends(self, attribute: Attribute) -> bool:
        """Whether an attribute, or its value, is only known once there is a recipient."""
        return attribute.conditional or bool(
            spans_within(self.spans, attribute.start, attribute.end)
        )


class Outline:
    """The outline of one page.

    Attributes:
        numbers: the mark of each element, by file and place; several outlines share them.
        values: expressions in style sheets, which :func:`value_mark` stands for; shared too.
        depends: whether the class or id of an element depends on data.
    """

    def __init__(
        self, pages: Mapping[str, Page], numbers: dict[tuple[str, int], int], values: list[str]
    ) -> None:
        self._pages = pages
        self.numbers = numbers
        self._macros = {
            name: (page, group) for page in pages.values() for name, group in page.macros.items()
        }
        self._aliases = _aliases(pages.values())
        self._callers: list[tuple[Page, Group]] = []
        self._chain: list[Page] = []
        self._open: list[str] = []
        self._shown: list[tuple[str, int]] = []
        self._loops = 0
        self._style = False
        self._out: list[str] = []
        self.values = values
        self.depends = False

    @property
    def html(self) -> str:
        """The document."""
        return "".join(self._out)

    def add(self, file: str) -> None:
        """Add a page as Jinja would show it."""
        if file in self._open or file not in self._pages:
            return
        outer = self._chain, self._shown
        self._chain, self._shown = self._chain_of(file), []
        self._open.append(file)
        self._items(self._chain[-1], self._chain[-1].root.children)
        self._open.pop()
        self._chain, self._shown = outer

    def _chain_of(self, file: str) -> list[Page]:
        chain = [self._pages[file]]
        while (parent := self._pages.get(chain[-1].parent or "")) and parent not in chain:
            chain.append(parent)
        return chain

    def _items(self, page: Page, items: list[Item]) -> None:
        if len(self._out) > MAX_PIECES:
            raise TemplateError("the page is too large once put together.", file=page.file)
        for item in items:
            match item:
                case Tag():
                    self._tag(page, item)
                case Group():
                    self._group(page, item)
                case Span():
                    self._span(page, item)
                case (start, end):
                    self._text(page.source[start:end])

    def _text(self, text: str) -> None:
        if self._style:
            self._out.append(text)
        elif text.strip():
            self._out.append("x")

    def _tag(self, page: Page, tag: Tag) -> None:
        if tag.name == "style":
            self._style = not tag.closing
        if tag.closing:
            self._out.append(f"</{tag.name}>")
        elif tag.name != "link":  # css-inline must not so much as look at another sheet
            self._out.append(f"<{tag.name}{self._attributes(page, tag)}>")

    def _attributes(self, page: Page, tag: Tag) -> str:
        number = self.numbers.setdefault((page.file, tag.start), len(self.numbers))
        found = {MARK: str(number)}
        for attribute in tag.attributes:
            if attribute.name in ("class", "id"):
                self.depends |= page.depends(attribute)
            if attribute.conditional or attribute.name in (MARK, "style"):
                continue
            found.setdefault(attribute.name, self._value(page, attribute.start, attribute.end))
        if found.get("media", "").strip().lower() not in _SCREEN_MEDIA:
            found["data-css-inline"] = "ignore"
        return "".join(f' {name}="{escape(value)}"' for name, value in found.items())

    @staticmethod
    def _value(page: Page, start: int, end: int) -> str:
        """An attribute's value without the words that hold Jinja: which they are is not known."""
        words = re.finditer(r"\S+", page.source[start:end])
        touched = spans_within(page.spans, start, end)
        if not touched:
            return page.source[start:end]
        return " ".join(
            word[0]
            for word in words
            if not any(
                span.start <= start + word.end() and start + word.start() <= span.end - 1
                for span in touched
            )
            and not conditional_at(page.spans, start, start + word.start())
        )

    def _span(self, page: Page, span: Span) -> None:
        if span.keyword == "include":
            self.add(resolve_name(span.literal, page.file))
        elif span.kind is SpanKind.EXPRESSION and self._style:
            self._out.append(value_mark(len(self.values)))
            self.values.append(page.source[span.start : span.end])
        elif span.kind is SpanKind.EXPRESSION:
            for name in span.calls:
                self._call(name)

    def _call(self, name: str) -> None:
        """What an expression shows that calls a macro, a block, or the block above."""
        if name == "super" and self._shown:
            block, place = self._shown[-1]
            self._block(block, place + 1)
        elif name == "caller" and self._callers:
            page, group = self._callers.pop()
            self._items(page, group.children)
            self._callers.append((page, group))
        elif (found := self._macros.get(self._aliases.get(name, name))) is not None:
            page, group = found
            if f"{page.file}:{name}" not in self._open:
                self._open.append(f"{page.file}:{name}")
                self._items(page, group.children)
                self._open.pop()
        else:
            self._block(name, 0)

    def _group(self, page: Page, group: Group) -> None:
        keyword = group.span.keyword
        if keyword == "block" and len(group.span.words) > 1:
            self._block(group.span.words[1], 0)
        elif self._style or keyword == "macro":
            return  # rules under a condition stay where they are; a macro is shown by its calls
        elif keyword == "call":
            self._callers.append((page, group))
            for name in group.span.calls:
                self._call(name)
            self._callers.pop()
        elif keyword == "for" and self._loops < 2:
            # Twice, so that :first-child and its like are seen not to hold for every pass.
            self._loops += 1
            self._items(page, group.children)
            self._items(page, group.children)
            self._loops -= 1
        else:
            self._items(page, group.children)

    def _block(self, name: str, place: int) -> None:
        holders = [page for page in self._chain if name in page.blocks]
        if place < len(holders) and (name, place) not in self._shown:
            self._shown.append((name, place))
            self._items(holders[place], holders[place].blocks[name].children)
            self._shown.pop()


def _aliases(pages: Iterable[Page]) -> dict[str, str]:
    """What ``{% from … import button as b %}`` calls macros: ``{"b": "button"}``."""
    words = [span.words for page in pages for span in page.spans if span.keyword == "from"]
    return {
        one[place + 1]: one[place - 1]
        for one in words
        for place in range(1, len(one) - 1)
        if one[place] == "as"
    }


def value_mark(number: int) -> str:
    """What stands for an expression in a style sheet: a word that CSS takes for any value."""
    return f"ignition-value-{number}-x"


def _nest(source: str, spans: list[Span], tags: list[Tag]) -> Group:
    root = Group(Span(kind=SpanKind.RAW, start=0, end=0, words=()))
    stack = [root]
    position = 0
    inside = {id(span) for tag in tags for span in spans_within(spans, tag.start, tag.end)}
    marks: list[Tag | Span] = [*tags, *(span for span in spans if id(span) not in inside)]
    for mark in sorted(marks, key=lambda one: one.start):
        stack[-1].children.append((position, mark.start))
        position = mark.end
        if isinstance(mark, Tag) or not (mark.opens or mark.closes):
            stack[-1].children.append(mark)
        elif mark.opens:
            group = Group(mark)
            stack[-1].children.append(group)
            stack.append(group)
        elif len(stack) > 1:
            stack.pop()
    stack[-1].children.append((position, len(source)))
    return root


def _groups(group: Group) -> Iterator[Group]:
    for child in group.children:
        if isinstance(child, Group):
            yield child
            yield from _groups(child)
