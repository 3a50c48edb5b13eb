"""Inline images: the ``cid:NAME`` of an HTML text becomes the Content-ID of a part (RFC 2392)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from ignition_ext.errors import TemplateError

# Where HTML names a resource: an attribute, or url(…) in a style.
_REFERENCE = re.compile(
    r"""((?:\b(?:src|background|href|poster|data)\s*=|\burl\()\s*["']?)"""
    r"""[Cc][Ii][Dd]:([^"'\s)>]+)""",
    re.IGNORECASE,
)
_NAME = re.compile(r"""cid:([^"'\s)>]+)""", re.IGNORECASE)
_SCHEME = re.compile(r"[Cc][Ii][Dd]:")
# The scheme, or an end of a piece that the next one may make into it.
_SCHEME_OR_END = re.compile(r"[Cc](?:\Z|[Ii](?:\Z|[Dd](?:\Z|:)))")
_SCHEME_ENDS = frozenset("cCiIdD")
_SCHEME_LENGTH = 4

_KEPT_PIECES = 4_096
"""Pieces whose references are known: a template's own, and some values with a colon in them."""


def image_names(source: str) -> set[str]:
    """The names that a page's source mentions as ``cid:NAME``, with ``%20`` for a blank."""
    return {unquote(name) for name in _NAME.findall(source)}


class InlineImages:
    """The images that one run's HTML may show.

    Args:
        images: by name, the Content-ID without brackets and the MIME part.
    """

    def __init__(self, images: Mapping[str, tuple[str, bytes]]) -> None:
        self._images = images
        self._without: set[str] = set()
        self._within: dict[str, tuple[str, dict[str, None]]] = {}

    def place(self, pieces: Sequence[str]) -> tuple[Sequence[str], list[bytes]]:
        """The HTML, its references resolved, and the parts that it shows, in order.

        Raises:
            TemplateError: it names an image that is not there.
        """
        if not self._suspects(pieces):
            return pieces, []
        names: dict[str, None] = {}
        resolved: list[str] = []
        for piece in pieces:
            known = self._within.get(piece)
            if known is None:
                known = self._learn(piece)
            if known is None:
                # A reference may begin in one piece and end in another.
                names.clear()
                resolved = [self._resolve("".join(pieces), names)]
                break
            resolved.append(known[0])
            names.update(known[1])
        return resolved, [self._images[name][1] for name in names]

    def _suspects(self, pieces: Sequence[str]) -> bool:
        """Whether the scheme stands in a piece, or begins in one and ends in another."""
        without, suspect = self._without, False
        for place, piece in enumerate(pieces):
            if ":" in piece and piece not in without:
                if _SCHEME.search(piece):
                    suspect = True
                else:
                    if len(without) >= _KEPT_PIECES:
                        without.clear()
                    without.add(piece)
            if piece[-1:] in _SCHEME_ENDS and _crosses(pieces, place):
                suspect = True
        return suspect

    def _learn(self, piece: str) -> tuple[str, dict[str, None]] | None:
        """A piece with its references resolved; None when they may reach beyond it."""
        names: dict[str, None] = {}
        found = list(_REFERENCE.finditer(piece))
        if any(match.start() == 0 or match.end() == len(piece) for match in found):
            return None
        if _SCHEME_OR_END.search(_REFERENCE.sub("", piece)):
            return None
        known = self._resolve(piece, names), names
        if len(self._within) >= _KEPT_PIECES:
            self._within.clear()
        self._within[piece] = known
        return known

    def _resolve(self, html: str, names: dict[str, None]) -> str:
        def content_id(match: re.Match[str]) -> str:
            name = unquote(match[2])
            if name not in self._images:
                known = ", ".join(sorted(self._images)) or "none"
                raise TemplateError(
                    f"the HTML shows cid:{name}, and the inline images are: {known}",
                    mend="Add the image to the template's folder, or correct the name.",
                )
            names[name] = None
            return f"{match[1]}cid:{self._images[name][0]}"

        return _REFERENCE.sub(content_id, html)


def _crosses(pieces: Sequence[str], place: int) -> bool:
    """Whether the scheme begins at the end of this piece and goes on in those behind it."""
    ahead = ""
    for piece in pieces[place + 1 :]:
        ahead += piece[:_SCHEME_LENGTH]
        if len(ahead) >= _SCHEME_LENGTH:
            break
    return _SCHEME.search(pieces[place][-_SCHEME_LENGTH + 1 :] + ahead) is not None
