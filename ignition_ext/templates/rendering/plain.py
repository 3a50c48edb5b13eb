"""The plain text of a page, for templates that have none of their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

from inscriptis import get_text
from inscriptis.model.config import ParserConfig
from inscriptis.model.css import CssParse
from inscriptis.model.html_element import HtmlElement

_STYLES_KEPT = 1_024
"""Style attributes of a few dozen pages; with inlined styles every element has one."""


def text_from_html(html: str) -> str:
    """The plain text of an HTML body: what a reader sees, links with their targets."""
    return get_text(html, _CONFIG).strip() + "\n" if html.strip() else ""


@lru_cache(maxsize=_STYLES_KEPT)
def _directives(style: str) -> tuple[tuple[Callable[[str, HtmlElement], None], str], ...]:
    """Those directives of a style attribute that change a text's layout."""
    found: list[tuple[Callable[[str, HtmlElement], None], str]] = []
    for directive in style.lower().split(";"):
        name, colon, value = directive.partition(":")
        name = name.strip().replace("-webkit-", "").replace("-", "_")
        apply = getattr(CssParse, f"attr_{name}", None) if colon else None
        if apply is not None:
            found.append((apply, value.strip()))
    return tuple(found)


def _apply_style(style: str, element: HtmlElement) -> None:
    """What ``CssParse.attr_style`` does, which reads all of the attribute each time."""
    for apply, value in _directives(style):
        with suppress(AttributeError):  # a length without a number, which it skips too
            apply(value, element)


def _config() -> ParserConfig:
    config = ParserConfig(display_links=True)
    handler = config.attribute_handler
    handler.attribute_mapping = {**handler.attribute_mapping, "style": _apply_style}
    return config


_CONFIG = _config()
