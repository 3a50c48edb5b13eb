"""The pages' words in the languages that we have, and which of them someone reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from babel import Locale
from markupsafe import Markup

FALLBACK = "en"
_MOST_ASKED = 20
"""Languages of a header that are looked at: a browser sends at most about ten."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its BCP 47 tag and the pages' words."""

    tag: str
    words: Mapping[str, str]

    @property
    def direction(self) -> str:
        """``rtl`` or ``ltr``, as HTML's ``dir`` says it."""
        return "rtl" if Locale.parse(self.tag, sep="-").text_direction == "rtl" else "ltr"

    def __getitem__(self, key: str) -> str:
        return self.words[key]

    def say(self, key: str, **values: Any) -> Markup:
        """Words with values in their places: escaped, and apart from the text's direction."""
        kept = {name: Markup("<bdi>{}</bdi>").format(value) for name, value in values.items()}
        return Markup(self.words[key]).format(**kept)  # noqa: S704 - our own words


@cache
def languages() -> Mapping[str, Language]:
    """All that we have, by tag, in the order of their tags."""
    found = {}
    for file in sorted((files("ignition_ext.web") / "texts").iterdir(), key=lambda file: file.name):
        tag = file.name.removesuffix(".yaml")
        found[tag] = Language(tag, yaml.safe_load(file.read_text(encoding="utf-8")))
    return found


def choose_language(asked: str | None, accepted: str, default: str) -> Language:
    """The language of a page.

    Args:
        asked: a tag that was chosen on the page; anything else is passed over.
        accepted: the header Accept-Language (RFC 9110 section 12.5.4).
        default: the tenant's locale.
    """
    for tag in (asked or "", *accepted_tags(accepted), default):
        if (found := _known(tag)) is not None:
            return found
    return languages()[FALLBACK]


def accepted_tags(header: str) -> list[str]:
    """The tags of an Accept-Language header, the one liked best first."""
    weighed = []
    for part in header.split(",")[:_MOST_ASKED]:
        tag, _, rest = part.partition(";")
        weight = rest.strip().removeprefix("q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if quality > 0:
            weighed.append((quality, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda pair: -pair[0])]


def _known(tag: str) -> Language | None:
    ours = {known.lower(): language for known, language in languages().items()}
    for name in _shorter(tag.replace("_", "-").lower()):
        if name in ours:
            return ours[name]
    # Portuguese of Portugal is nearer to that of Brazil than to English.
    near = (language for known, language in ours.items() if known.startswith(_first(tag) + "-"))
    return next(near, None)


def _shorter(tag: str) -> Iterator[str]:
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def _first(tag: str) -> str:
    return tag.replace("_", "-").lower().partition("-")[0] or "?"
