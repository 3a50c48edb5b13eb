"""The values that rendering works on, and which file of a template serves which part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ignition_ext.values import Channel

TEMPLATE_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
FILE_NAME = re.compile(
    r"^[A-Za-z0-9_-]{1,60}(\.[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3})?\.(html|txt|css)$"
)
MANIFEST = "template.yaml"
PARTS = ("subject.txt", "body.html", "body.txt", "sms.txt")
"""The files that messages are made from; all others are there to be included or extended."""


class PlacesLinks(Protocol):
    """Changes the links of one message's texts, piece by piece."""

    def page(self, pieces: Sequence[str]) -> Sequence[str]:
        """The HTML."""
        ...

    def text(self, pieces: Sequence[str]) -> Sequence[str]:
        """A plain text that the template has of its own."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedEmail:
    """An email's personal parts. ``text`` is made from the HTML when the template has none.

    Attributes:
        subject: one line.
        html_pieces: the page, to be joined; None for a message of text only. What the template
            itself says is the same object in every message, so that it is encoded only once.
        text_pieces: the plain text, to be joined.
    """

    subject: str
    html_pieces: Sequence[str] | None
    text_pieces: Sequence[str]

    @property
    def html(self) -> str | None:
        """The page, whole."""
        return None if self.html_pieces is None else "".join(self.html_pieces)

    @property
    def text(self) -> str:
        """The plain text, whole."""
        return "".join(self.text_pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSources:
    """One version of a template with everything it is made from.

    Attributes:
        name: the template's name; its own files are ``name/…`` in ``files``.
        version: the version's number, from 1.
        files: sources by ``template/file``, those of inherited and included templates too.
        settings: what ``template.yaml`` says, see :class:`..manifest.Manifest`.
        variables: the columns that the template needs from an audience.
    """

    name: str
    version: int
    files: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    variables: tuple[str, ...] = ()

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that this template has files for; none for a mere layout."""
        own = {part_of(file) for file in self.files if file.startswith(f"{self.name}/")}
        found = set()
        if "subject.txt" in own and own & {"body.html", "body.txt"}:
            found.add(Channel.EMAIL)
        if "sms.txt" in own:
            found.add(Channel.SMS)
        return frozenset(found)


def split_variant(file: str) -> tuple[str, str]:
    """``newsletter/body.de-AT.html`` as ``("newsletter/body.html", "de-AT")``."""
    folder, slash, name = file.rpartition("/")
    pieces = name.split(".")
    if len(pieces) == 3:
        return f"{folder}{slash}{pieces[0]}.{pieces[2]}", pieces[1].replace("_", "-")
    return file, ""


def part_of(file: str) -> str | None:
    """Which of :data:`PARTS` a file serves in some language; None for a file of any other name."""
    base = split_variant(file)[0].rpartition("/")[2]
    return base if base in PARTS else None


def language_order(locale: str | None, default: str) -> list[str]:
    """Variants to try, best first: ``de-at``, ``de``, the tenant's ``en``, unsuffixed."""
    order: list[str] = []
    for tag in (locale or "", default):
        subtags = tag.replace("_", "-").split("-")
        order += ["-".join(subtags[:count]).lower() for count in range(len(subtags), 0, -1)]
    return [*dict.fromkeys(tag for tag in order if tag), ""]


def choose(
    files: Mapping[str, str], template: str, part: str, order: Sequence[str]
) -> tuple[str, int] | None:
    """The file that serves a part, with its place in ``order``; None when there is no such part."""
    variants = {
        split_variant(file)[1].lower(): file
        for file in files
        if file.startswith(f"{template}/") and part_of(file) == part
    }
    for place, tag in enumerate(order):
        if tag in variants:
            return variants[tag], place
    return None
