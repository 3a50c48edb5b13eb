"""Turns one version of a template and one recipient's data into a message's texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from jinja2 import Template
from jinja2.exceptions import TemplateNotFound, TemplateSyntaxError
from jinja2.runtime import Context

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.bounded import BUDGET, Budget, gather
from ignition_ext.templates.rendering.filters import VOICE, Speech, Voice, speech_of
from ignition_ext.templates.rendering.fold import fold
from ignition_ext.templates.rendering.limits import MAX_LOCALES
from ignition_ext.templates.rendering.plain import text_from_html
from ignition_ext.templates.rendering.sandbox import TemplateEnvironment
from ignition_ext.templates.rendering.sources import (
    PARTS,
    PlacesLinks,
    RenderedEmail,
    TemplateSources,
    choose,
    language_order,
    split_variant,
)

_LINE_BREAKS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""All that some mail program or parser takes for the end of a line."""

_SMS_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})
"""Spaces that number formats are set with. GSM 03.38 has none of them: one would turn a text of
160 characters into UCS-2 with 70."""


@dataclass(frozen=True, slots=True)
class _File:
    """A compiled file.

    Attributes:
        template: the file as it was written, which can say where it fails.
        folded: the same in one piece, layout and all; None where that cannot be.
        speech: the language of its dates and numbers.
    """

    template: Template
    folded: Template | None
    speech: Speech


@dataclass(frozen=True, slots=True)
class _Parts:
    """The files that serve one locale."""

    subject: _File | None
    html: _File | None
    text: _File | None
    sms: _File | None


class Renderer:
    """Renders one template version for any number of recipients; compiles each file once.

    Args:
        sources: the version with all files that it needs.
        locale: the tenant's, for recipients without one.
        timezone: the tenant's, for recipients without one.
        globals: what templates see beside the recipient: ``campaign``, ``tenant``, ``run``.

    Raises:
        TemplateError: a file cannot be compiled.
    """

    def __init__(
        self,
        sources: TemplateSources,
        *,
        locale: str,
        timezone: str,
        globals: Mapping[str, Any],
    ) -> None:
        self.sources = sources
        self._locale, self._timezone = locale, timezone
        self._environment = TemplateEnvironment(sources.files)
        self._defaults = dict(sources.settings.get("defaults") or {})
        self._required = tuple(sources.settings.get("required") or ())
        self._base = {**self._environment.globals, **self._defaults}
        self._globals = dict(globals)
        self._parts = lru_cache(maxsize=MAX_LOCALES)(self._load_parts)
        self._zone = lru_cache(maxsize=MAX_LOCALES)(self._load_zone)
        self._parts(None)

    def email(
        self,
        data: Mapping[str, Any],
        *,
        locale: str | None = None,
        timezone: str | None = None,
        names: Mapping[str, str] | None = None,
        links: PlacesLinks | None = None,
    ) -> RenderedEmail:
        """Subject, HTML and text for one recipient.

        ``names`` are further ones of this recipient, behind columns and before defaults. ``links``
        changes those of page and text; a text that is made of the page has the page's.

        Raises:
            TemplateError: for this recipient only: a value is missing or does not fit.
        """
        parts = self._parts(locale)
        if parts.subject is None or (parts.html is None and parts.text is None):
            raise self._no_part("subject.txt and body.html or body.txt")
        if names is not None:
            data = _with_names(data, names)
        context, zone = self._context(data), self._zone(timezone)
        subject = self._subject(parts.subject, context, zone)
        html: Sequence[str] | None = None
        if parts.html is not None:
            html = self._render(parts.html, context, zone)
            html = html if links is None else links.page(html)
        text: Sequence[str]
        if parts.text is not None:
            text = self._render(parts.text, context, zone)
            text = text if links is None else links.text(text)
        else:
            text = [text_from_html("".join(html or ()))]
        return RenderedEmail(subject=subject, html_pieces=html, text_pieces=text)

    def sms(
        self,
        data: Mapping[str, Any],
        *,
        locale: str | None = None,
        timezone: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> str:
        """The text message for one recipient, blanks around it removed.

        ``names`` are further ones of this recipient, behind columns and before defaults.

        Raises:
            TemplateError: for this recipient only: a value is missing or does not fit.
        """
        parts = self._parts(locale)
        if parts.sms is None:
            raise self._no_part("sms.txt")
        if names is not None:
            data = _with_names(data, names)
        text = "".join(self._render(parts.sms, self._context(data), self._zone(timezone)))
        if not text.isascii():
            text = text.translate(_SMS_SPACES)
        text = text.strip()
        if not text:
            raise TemplateError(
                "the text is empty for this recipient.", file=str(parts.sms.template.name)
            )
        return text

    def _context(self, data: Mapping[str, Any]) -> dict[str, Any]:
        context = {**self._base, **data}
        lacking = [name for name in self._defaults if data.get(name) in (None, "")]
        context.update((name, self._defaults[name]) for name in lacking)
        for name in self._required:
            if context.get(name) in (None, ""):
                raise TemplateError(
                    f"the recipient has no {name!r}, which the template requires.",
                    template=self.sources.name,
                )
        context["recipient"] = data
        context.update(self._globals)
        context[BUDGET] = Budget()
        return context

    def _render(self, file: _File, context: dict[str, Any], zone: ZoneInfo) -> list[str]:
        context[VOICE] = Voice(file.speech, zone)
        if file.folded is not None:
            budget: Budget = context[BUDGET]
            left = budget.left
            # Whatever went wrong, the file as it was written says it with its own line.
            with suppress(Exception):
                return _shown(file.folded, context)
            budget.left = left
        try:
            return _shown(file.template, context)
        except Exception as error:  # a template may raise anything; it fails one recipient
            raise _explained(error, file.template) from error

    def _subject(self, file: _File, context: dict[str, Any], zone: ZoneInfo) -> str:
        subject = "".join(self._render(file, context, zone))
        if not subject.isprintable() and any(mark in subject for mark in _LINE_BREAKS):
            raise TemplateError(
                "the subject holds a line break.",
                file=str(file.template.name),
                mend="Write it in one line; a value with a line break in it is never sent.",
            )
        return subject.strip()

    def _load_parts(self, locale: str | None) -> _Parts:
        order = language_order(locale, self._locale)
        chosen = {
            part: choose(self.sources.files, self.sources.name, part, order) for part in PARTS
        }
        html, text = chosen["body.html"], chosen["body.txt"]
        if html and text and html[1] < text[1]:
            # The HTML is in the recipient's language and the text is not: make it from the HTML.
            chosen["body.txt"] = None
        loaded = {part: found and self._file(found[0], locale) for part, found in chosen.items()}
        return _Parts(
            subject=loaded["subject.txt"],
            html=loaded["body.html"],
            text=loaded["body.txt"],
            sms=loaded["sms.txt"],
        )

    def _file(self, file: str, locale: str | None) -> _File:
        spoken = babel_locale(locale, self._locale)
        written = split_variant(file)[1] or self.sources.settings.get("language")
        if written and babel_locale(written, self._locale).language != spoken.language:
            # A date in the recipient's language would stand in a sentence of another.
            spoken = babel_locale(written, self._locale)
        template = compile_file(self._environment, file)
        folded = fold(self._environment, self.sources.files, file)
        return _File(template, folded, speech_of(spoken))

    def _load_zone(self, timezone: str | None) -> ZoneInfo:
        for name in (timezone, self._timezone):
            if name:
                try:
                    return ZoneInfo(name)
                except (KeyError, ValueError, OSError):
                    continue
        return ZoneInfo("UTC")

    def _no_part(self, needed: str) -> TemplateError:
        return TemplateError(
            f"the template has no {needed}.",
            template=self.sources.name,
            mend="Add the file to the template's folder, push and publish it.",
        )


def compile_file(environment: TemplateEnvironment, file: str) -> Template:
    """Compile one file; the files it inherits or includes are compiled when first used.

    Raises:
        TemplateError: with the file and line that are wrong.
    """
    try:
        return environment.get_template(file)
    except TemplateSyntaxError as error:
        raise TemplateError(
            f"{error.message}.", file=error.name or file, line=error.lineno
        ) from error
    except TemplateNotFound as error:
        raise TemplateError(f"there is no file {error.name!r}.", file=file) from error
    except (RecursionError, SyntaxError, MemoryError) as error:
        raise TemplateError("it is nested too deeply to be compiled.", file=file) from error


def babel_locale(locale: str | None, default: str) -> Locale:
    """The best locale that Babel knows: the recipient's, its language, the tenant's, English."""
    for tag in language_order(locale, default):
        try:
            return Locale.parse(tag, sep="-")
        except (ValueError, UnknownLocaleError):
            continue
    return Locale("en")


def _with_names(data: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    return {**data, **{name: names[name] for name in names if data.get(name) in (None, "")}}


def _shown(template: Template, values: dict[str, Any]) -> list[str]:
    # As Template.new_context does it, without finding out once more which names are global: that
    # is for imports without a context, which there are none of.
    context = Context(template.environment, values, template.name, template.blocks)
    return gather(template.root_render_func(context))


def _explained(error: Exception, template: Template) -> TemplateError:
    """What went wrong, with the innermost template file and line of the traceback."""
    if isinstance(error, TemplateError):
        return error
    file, line = str(template.name), 0
    frame = error.__traceback__
    while frame is not None:
        source = frame.tb_frame.f_globals.get("__jinja_template__")
        if source is not None:
            file, line = str(source.name), source.get_corresponding_lineno(frame.tb_lineno)
        frame = frame.tb_next
    if isinstance(error, TemplateSyntaxError):
        file, line = error.name or file, error.lineno
    words = "macros call each other without end" if isinstance(error, RecursionError) else error
    return TemplateError(f"{str(words).rstrip('.')}.", file=file, line=line)
