"""What ``ignition template preview`` reads, makes and writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ignition_ext.errors import TemplateError
from ignition_ext.links.personal import PREFERENCES_NAME, UNSUBSCRIBE_NAME
from ignition_ext.models import Tenant
from ignition_ext.templates.rendering import Renderer, TemplateSources
from ignition_ext.values import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One recipient's message; ``document`` has subject, html, text, sms and its segments."""

    name: str
    document: Mapping[str, Any]

    def write(self, folder: Path) -> list[Path]:
        """Write HTML, text and SMS, whichever there are; returns the files."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for key, ending in (("html", "html"), ("text", "txt"), ("sms", "sms.txt")):
            if self.document[key] is not None:
                path = folder / f"{self.name}.{ending}"
                path.write_text(self.document[key], encoding="utf-8")
                written.append(path)
        return written


def make_preview(
    sources: TemplateSources,
    data: Mapping[str, Any],
    *,
    tenant: Tenant,
    locale: str | None,
    timezone: str | None,
) -> Preview:
    """Render every channel that a template has files for.

    Raises:
        TemplateError: a value is missing or does not fit, or the template is a mere layout.
    """
    if not sources.channels:
        raise TemplateError(
            "it has no message of its own, others take it in.",
            template=sources.name,
            mend="Preview a template that extends it.",
        )
    renderer = Renderer(
        sources,
        locale=tenant.locale,
        timezone=tenant.timezone,
        globals={
            "tenant": {"name": tenant.name, "title": tenant.title},
            "campaign": {"name": "preview"},
            "run": {"id": "preview", "name": "preview"},
        },
    )
    names = {name: f"https://example.com/{name}" for name in (UNSUBSCRIBE_NAME, PREFERENCES_NAME)}
    document: dict[str, Any] = {"name": sources.name, "version": sources.version}
    document |= dict.fromkeys(("subject", "html", "text", "sms", "encoding", "units"))
    document["segments"] = []
    if Channel.EMAIL in sources.channels:
        email = renderer.email(data, locale=locale, timezone=timezone, names=names)
        document |= {"subject": email.subject, "html": email.html, "text": email.text}
    if Channel.SMS in sources.channels:
        text = renderer.sms(data, locale=locale, timezone=timezone, names=names)
        document |= _sms(text, sources.name)
    return Preview(name=sources.name, document=document)


def read_data(path: Path) -> dict[str, Any]:
    """A recipient out of a JSON or YAML mapping (or list of such), or a CSV file's first row.

    Raises:
        TemplateError: there is none in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            found: Any = list(csv.DictReader(text.splitlines()))
        elif path.suffix.lower() == ".json":
            found = json.loads(text)
        else:
            found = yaml.safe_load(text)
    except (OSError, ValueError, csv.Error, yaml.YAMLError) as error:
        raise TemplateError(f"it cannot be read: {error}.", file=str(path)) from error
    if isinstance(found, list):
        found = found[0] if found else None
    if not isinstance(found, dict):
        raise TemplateError(
            "it holds no recipient.",
            file=str(path),
            mend="Give a mapping of columns to values, or a CSV file with a header and a row.",
        )
    return {str(key): value for key, value in found.items()}


def _sms(text: str, template: str) -> dict[str, Any]:
    # Loaded late: only a preview of a text message needs the channel.
    from ignition_ext.channels.smpp.segment import TextRefused, segment

    try:
        cut = segment(text)
    except TextRefused as error:
        raise TemplateError(f"the text cannot be sent: {error}.", template=template) from error
    return {
        "sms": text,
        "encoding": cut.encoding,
        "units": cut.units,
        "segments": list(cut.texts),
    }
