"""Rewrites the links of pages and texts and adds a pixel, where opens and clicks are noted; pure.

A rendered page comes in pieces: the template's own words, the same object for every recipient, and
the recipient's values between them. What stands between two links stays a piece of its own, so that
composing still knows it again.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from typing import TypeAlias

from ignition_ext.links.personal import LinkPlan
from ignition_ext.links.plain_text import web_links
from ignition_ext.values import MessageId

LONGEST_URL = 2000
"""A longer one stays as it is: with the token around it no browser or proxy has to take it."""

_KEPT_PIECES = 4_096
"""Pieces whose links are known: a template's own, and some values."""

# Possessive: what does not end in its piece is found out in one pass.
_TAG = re.compile(r"<(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")
_COMMENT, _COMMENT_END = "<!--", "-->"
_RAW = re.compile(r"<(style|script|title|textarea)\b", re.IGNORECASE)
_RAW_ENDS = {
    name: re.compile(rf"</{name}\s*>", re.IGNORECASE)
    for name in ("style", "script", "title", "textarea")
}
"""Elements whose text holds no tags but the one that ends them."""
_BEGINS = re.compile(r"<(?:[a-zA-Z/!?]|\Z)")
_LINK = re.compile(r"<a(?:rea)?(?=[\s/>])", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""[\s/"']([^\s=>/"']+)\s*(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""", re.DOTALL
)
_WEB = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_END_OF_BODY = re.compile(r"</body\s*>", re.IGNORECASE)
_PIXEL = '<img src="{url}" width="1" height="1" alt="" style="display:block;border:0">'


@dataclass(frozen=True, slots=True)
class _Link:
    """A target that stands in the page, at ``text[start:end]`` of what it was found in."""

    url: str
    start: int
    end: int


_Part: TypeAlias = "str | _Link"


class Tracker:
    """Makes the messages of one run tell what becomes of them.

    Args:
        links: which of the two are wanted, and what signs them.
        sources: the template's files, which tell its own links from those made of values.
    """

    def __init__(self, links: LinkPlan, sources: Collection[str] = ()) -> None:
        self._links = links
        self._own = tuple(f"{links.base}/{kind}/" for kind in "upco")
        self._known: dict[str, tuple[Sequence[_Part], str]] = {}
        texts = [unescape(source) for source in sources]
        self._constants = {text[slice(*span)] for text in texts for span in web_links(text)}
        self._off = {url for source in sources for url in _written_off(source)}

    def of(self, message_id: MessageId) -> TrackedLinks:
        """What rendering changes a message's links with."""
        return TrackedLinks(self, message_id)

    def place(self, message_id: MessageId, pieces: Sequence[str]) -> Sequence[str]:
        """The page with its links led by way of us, and a pixel at its end, as far as wanted."""
        if self._links.clicks is not None:
            pieces = list(self._led(message_id, pieces))
        if self._links.opens is not None:
            pieces = _with_pixel(pieces, _PIXEL.format(url=self._links.pixel_url(message_id)))
        return pieces

    def place_text(self, message_id: MessageId, pieces: Sequence[str]) -> Sequence[str]:
        """A text of its own with its links led by way of us, as far as wanted."""
        if self._links.clicks is None:
            return pieces
        text = "".join(pieces)
        spans = [span for span in web_links(text) if self._is_led_in_text(text[slice(*span)])]
        return list(self._replaced(message_id, pieces, spans)) if spans else pieces

    def _is_led_in_text(self, url: str) -> bool:
        return self._is_led(url) and url not in self._off

    def _replaced(
        self, message_id: MessageId, pieces: Sequence[str], spans: Sequence[tuple[int, int]]
    ) -> Iterator[str]:
        """The pieces with links in the place of spans, of which none touches another."""
        left, at, url = deque(spans), 0, ""
        for piece in pieces:
            kept, end = at, at + len(piece)
            while left and left[0][0] < end:
                start, stop = left[0]
                if start > kept:
                    yield piece[kept - at : start - at]
                url += piece[max(start - at, 0) : stop - at]
                kept = min(stop, end)
                if stop > end:
                    break  # it goes on in the next piece
                yield self._links.click_url(message_id, url, is_personal=url not in self._constants)
                left.popleft()
                url = ""
            if kept < end:
                yield piece[kept - at :]
            at = end

    def _led(self, message_id: MessageId, pieces: Sequence[str]) -> Iterator[str]:
        open_parts: list[str] = []  # a tag that began in one piece and ends in another
        for piece in pieces:
            rest = piece
            while open_parts and rest:
                end = rest.find(">") + 1 or len(rest)
                open_parts.append(rest[:end])
                closes, rest = rest[end - 1] == ">", rest[end:]
                if closes:
                    whole = "".join(open_parts)
                    parts, tail = self._parts(whole)
                    if not tail:
                        yield from self._spliced(message_id, parts, open_parts)
                        open_parts = []
            if rest:
                parts, tail = self._learned(rest)
                yield from self._spliced(message_id, parts, None)
                if tail:
                    open_parts = [tail]
        yield from open_parts

    def _spliced(
        self, message_id: MessageId, parts: Sequence[_Part], origin: Sequence[str] | None
    ) -> Iterator[str]:
        """The parts with their links made; ``origin`` are the pieces that they were joined of."""
        if origin is not None and not any(isinstance(part, _Link) for part in parts):
            yield from origin
            return
        for part in parts:
            if isinstance(part, str):
                yield part
            else:
                is_personal = origin is not None and not _is_constant(part, origin)
                yield self._links.click_url(message_id, part.url, is_personal=is_personal)

    def _learned(self, piece: str) -> tuple[Sequence[_Part], str]:
        known = self._known.get(piece)
        if known is None:
            known = self._parts(piece)
            if len(self._known) >= _KEPT_PIECES:
                self._known.clear()
            self._known[piece] = known
        return known

    def _parts(self, text: str) -> tuple[Sequence[_Part], str]:
        """What stands in a text, links apart; and the tag that is not closed at its end."""
        parts: list[_Part] = []
        kept = at = 0
        while (at := text.find("<", at)) >= 0:
            if not _BEGINS.match(text, at):
                at += 1
                continue
            end = _end_of(text, at)
            if end is None:
                return [*parts, text[kept:at]] if at > kept else parts, text[at:]
            if _LINK.match(text, at) and (link := self._target(text, at, end)) is not None:
                parts += [text[kept : link.start], link]
                kept = link.end
            at = end
        if kept < len(text):
            parts.append(text if not kept else text[kept:])
        return parts, ""

    def _target(self, text: str, start: int, end: int) -> _Link | None:
        """The ``href`` of a tag, if it is to be led by way of us."""
        href, is_off = _href(text, start, end)
        return href if href is not None and not is_off and self._is_led(href.url) else None

    def _is_led(self, url: str) -> bool:
        return (
            bool(_WEB.match(url))
            and len(url) <= LONGEST_URL
            and url.isprintable()
            and " " not in url
            and not url.startswith(self._own)
        )


@dataclass(frozen=True, slots=True)
class TrackedLinks:
    """The links of one message."""

    tracker: Tracker
    message_id: MessageId

    def page(self, pieces: Sequence[str]) -> Sequence[str]:
        """The HTML, its links led by way of us, and with the pixel."""
        return self.tracker.place(self.message_id, pieces)

    def text(self, pieces: Sequence[str]) -> Sequence[str]:
        """The text, its links led by way of us."""
        return self.tracker.place_text(self.message_id, pieces)


def _href(text: str, start: int, end: int) -> tuple[_Link | None, bool]:
    """The ``href`` of a tag, blanks around it left out; and whether it is not to be tracked."""
    href: _Link | None = None
    is_off = False
    for found in _ATTRIBUTE.finditer(text, start, end):
        name = found[1].lower()
        group = next((one for one in (2, 3, 4) if found[one] is not None), 0)
        if name == "data-track" and group and found[group].strip().lower() == "off":
            is_off = True
        if name == "href" and href is None and group:
            begin = found.end(group) - len(found[group].lstrip())
            url = found[group].strip()
            href = _Link(unescape(url).strip(), begin, begin + len(url))
    return href, is_off


def _written_off(source: str) -> Iterator[str]:
    """The targets in a template that its author does not want to be tracked."""
    for tag in _TAG.finditer(source):
        if _LINK.match(source, tag.start()):
            href, is_off = _href(source, *tag.span())
            if is_off and href is not None:
                yield href.url


def _end_of(text: str, at: int) -> int | None:
    """Where the tag, comment or raw element ends that begins here; None where it does not."""
    if text.startswith(_COMMENT, at):
        end = text.find(_COMMENT_END, at + 2)
        return None if end < 0 else end + len(_COMMENT_END)
    raw = _RAW.match(text, at)
    found = _RAW_ENDS[raw[1].lower()].search(text, raw.end()) if raw else _TAG.match(text, at)
    return None if found is None else found.end()


def _is_constant(link: _Link, origin: Sequence[str]) -> bool:
    """Whether a link came out of one piece, with the mark before it: then it is the template's."""
    begin = 0
    for piece in origin:
        if begin < link.start:
            within = link.end <= begin + len(piece)
            if within or link.start < begin + len(piece):
                return within
        begin += len(piece)
    return False


def _with_pixel(pieces: Sequence[str], pixel: str) -> Sequence[str]:
    """The pixel before the end of the body, or at the end of a page that has none."""
    for place in range(len(pieces) - 1, -1, -1):
        ends = list(_END_OF_BODY.finditer(pieces[place])) if "<" in pieces[place] else []
        if ends:
            at, piece = ends[-1].start(), pieces[place]
            return [*pieces[:place], piece[:at], pixel, piece[at:], *pieces[place + 1 :]]
    return [*pieces, pixel]
