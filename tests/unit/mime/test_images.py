"""References to inline images, resolved in pieces as in the whole."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ignition_ext.errors import TemplateError
from ignition_ext.templates.mime_images import InlineImages, image_names

_IMAGES = {"a": ("1@x", b"A"), "b c": ("2@x", b"BC"), "d": ("3@x", b"D")}
_REFERENCE = re.compile(
    r"""((?:\b(?:src|background|href|poster|data)\s*=|\burl\()\s*["']?)cid:([^"'\s)>]+)""",
    re.IGNORECASE | re.ASCII,
)
_PIECE = st.lists(
    st.sampled_from(
        [
            *('<img src="cid:a"> ', "src=", '"', "cid:", "a", "d", "b%20c", " ", ">", "CID:d"),
            *("c", "ci", "id:a", ":", "url(cid:b%20c) ", "Eric", "x", "data =\n'", "cid:gone'"),
            *("style='color:red'", "<p>placid:x", "("),
        ]
    ),
    max_size=4,
).map("".join)


def _simply(html: str) -> tuple[str, list[bytes]]:
    """What the pieces' handling must equal: one expression over the whole text."""
    used: dict[str, None] = {}

    def resolve(match: re.Match[str]) -> str:
        name = match[2].replace("%20", " ")
        if name not in _IMAGES:
            raise TemplateError(name)
        used[name] = None
        return f"{match[1]}cid:{_IMAGES[name][0]}"

    return _REFERENCE.sub(resolve, html), [_IMAGES[name][1] for name in used]


@settings(max_examples=500)
@given(messages=st.lists(st.lists(_PIECE, max_size=6), min_size=1, max_size=3))
@example(messages=[['<img src="c', "", 'id:a">']])
@example(messages=[["x", 'src="cid:a" ', "cid:a"], ["data-", 'src="cid:a" ']])
@example(messages=[['<img src="cid:a', 'b">'], ['<img src="cid:a', '">']])
def test_pieces_are_resolved_as_the_whole(messages: list[list[str]]) -> None:
    """Wherever the HTML is cut, and whatever was learned from messages before."""
    images = InlineImages(_IMAGES)
    for pieces in messages * 2:
        try:
            expected = _simply("".join(pieces))
        except TemplateError:
            with pytest.raises(TemplateError):
                images.place(pieces)
        else:
            html, parts = images.place(pieces)
            assert ("".join(html), parts) == expected


def test_names_of_images_in_a_page() -> None:
    """As they stand in a page's source, blanks and all."""
    page = (
        """<img src="cid:my%20bild.png"><i style='background: URL(CID:a.gif)'>{{ "cid:x.jpg" }}"""
    )

    assert image_names(page) == {"my bild.png", "a.gif", "x.jpg"}
