"""The Jinja environment of reports, with the escapes that Markdown and SVG need."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment() -> Environment:
    """Loads from ``report_files``. Values are escaped where they stand: ``| cell`` or ``| e``."""
    made = Environment(
        loader=PackageLoader("ignition_ext.delivery", "report_files"),
        autoescape=False,  # noqa: S701 - a page of Markdown; HTML's escapes would show in it
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters["cell"] = cell
    return made


def cell(value: object) -> str:
    """A server's words on one line, without what would end a table's cell or become markup."""
    return re.sub(r"([|<>\[\]`*_\\])", r"\\\1", " ".join(str(value).split()))
