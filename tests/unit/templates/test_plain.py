"""The text made from a page is what the library makes of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from inscriptis import get_text
from inscriptis.model.config import ParserConfig

from ignition_ext.templates.rendering.plain import text_from_html

_STYLE = st.lists(
    st.sampled_from(
        [
            *(
                "display: none",
                "display:block",
                "DISPLAY : inline",
                "color: red",
                "margin-top: 2em",
            ),
            *("margin-bottom: auto", "padding-left: 40px", "white-space: pre", "display", ":", ""),
            *("-webkit-padding-start: 3em", "horizontal-align: right", "margin-before: x", "a:b:c"),
        ]
    ),
    max_size=4,
).map("; ".join)
_PAGE = st.lists(
    st.one_of(
        st.sampled_from(["one two", " ", "&nbsp;", "<br>", "\n\n", "<a href='/x'>y</a>"]),
        st.tuples(st.sampled_from(["p", "div", "span", "b", "li", "td", "h1"]), _STYLE).map(
            lambda tag: f'<{tag[0]} style="{tag[1]}">in <i>side</i></{tag[0]}>'
        ),
    ),
    max_size=6,
).map("".join)


@settings(deadline=None)
@given(page=_PAGE)
def test_styles_read_once_say_the_same(page: str) -> None:
    """Whatever a style attribute holds, wrong directives too."""
    plainly = (
        get_text(page, ParserConfig(display_links=True)).strip() + "\n" if page.strip() else ""
    )

    assert text_from_html(page) == plainly
