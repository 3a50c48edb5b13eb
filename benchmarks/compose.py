"""How fast messages are made: a claimed message in, an email's bytes or a text's segments out.

``python benchmarks/compose.py [--messages N] [--repeats N]``

Takes the sample tenant's newsletter and reminder (three languages, a layout, a macro, dates and
money, an attachment) and its audience; each message has an amount and an account of its own, as in
a real audience, so that no cache knows them. Prints one JSON document: processor time a message,
the best of the repeats, and for comparison in the same run what the standard library needs to
compose the same texts and what plain Jinja needs to render the same files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import DictLoader, Environment, StrictUndefined

from ignition_ext.audience.csv_source import CsvSource
from ignition_ext.campaigns.file import load_campaign_file
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.channels.smpp.segment import segment
from ignition_ext.delivery.plan import CampaignPlan, email_workshop, sms_workshop
from ignition_ext.delivery.workshop import EmailWorkshop
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.models import Campaign, Tenant
from ignition_ext.templates.attachments import load_attachment
from ignition_ext.templates.email_maker import display_name
from ignition_ext.templates.folder import find_folders
from ignition_ext.templates.rendering import TemplateSources
from ignition_ext.templates.rendering.compile import compile_bundle
from ignition_ext.templates.rendering.filters import LOCALE_FILTERS, VOICE, Voice, speech_of
from ignition_ext.templates.rendering.renderer import babel_locale
from ignition_ext.templates.rendering.sandbox import is_markup, resolve_name, source_text
from ignition_ext.templates.rendering.sources import choose, language_order
from ignition_ext.values import Channel, MessageId, Recipient, new_id

ACME = Path(__file__).parents[1] / "deployments" / "acme"
PEERS_SHARE = 10
"""The peers are measured on every tenth message: the standard library takes a millisecond each."""


def plan_of(name: str, *, with_text: bool = True) -> CampaignPlan:
    """The sample campaign as a run has it, without a database."""
    definition = load_campaign_file(ACME / f"{name}.yaml")
    folders = {folder.name: folder for folder in find_folders(ACME / "templates")}
    files = {file: text for folder in folders.values() for file, text in folder.sources.items()}
    if not with_text:
        gone = [file for file in files if "/body." in file and not is_markup(file)]
        files = {file: text for file, text in files.items() if file not in gone}
    manifest = folders[name].manifest
    compiled, variables = compile_bundle(name, files, manifest)
    return CampaignPlan(
        stored=StoredCampaign(
            campaign=Campaign(tenant_id=1, name=name),
            tenant=Tenant(name="acme", timezone="Europe/Berlin"),
            definition=definition,
            base_path=ACME,
            version=1,
            digest="",
        ),
        template=TemplateSources(
            name=name,
            version=1,
            files=compiled,
            settings=manifest.model_dump(mode="json"),
            variables=variables,
        ),
        template_version_id=1,
        environment="dev",
        attachments=[load_attachment(ACME / file) for file in definition.attachments],
    )


async def audience() -> list[Recipient]:
    """The sample tenant's customers."""
    source = CsvSource(ACME / "customers.csv", region="DE", rejects=None, unique=True)
    return [recipient async for batch in source.batches() for recipient in batch]


def claims(people: list[Recipient], channel: Channel, count: int) -> list[ClaimedMessage]:
    """As many messages as asked for, each with an amount and an account of its own."""
    email = channel is Channel.EMAIL
    fit = [person for person in people if (person.email if email else person.phone)]
    made = []
    for number in range(count):
        person = fit[number % len(fit)]
        data = {
            **person.data,
            "amount": f"{number * 7919 % 1_000_003 / 100:.2f}",
            "account_id": f"AC-{number:07d}",
        }
        address = str(person.email if email else person.phone)
        made.append(
            ClaimedMessage(
                id=MessageId(new_id()),
                channel=channel,
                address=address,
                domain=address.rpartition("@")[2],
                locale=person.locale,
                timezone=person.timezone,
                attempts=0,
                data=data,
            )
        )
    return made


def microseconds(work: Callable[[Any], object], items: Iterable[Any], repeats: int) -> float:
    """Processor time for each item, the best of the repeats."""
    items, best = list(items), float("inf")
    for _ in range(repeats):
        began = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - began)
    return round(best * 1e6 / len(items), 1)


def standard_library(plan: CampaignPlan, workshop: EmailWorkshop) -> Callable[[Any], bytes]:
    """Composes an already rendered message with ``EmailMessage``."""

    def compose(rendered: tuple[ClaimedMessage, Any]) -> bytes:
        message, texts = rendered
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"] = plan.stored.definition.from_, message.address
        mail["Subject"] = texts.subject
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{message.id}@acme.example>"
        for name, value in plan.stored.definition.headers.items():
            mail[name] = value
        mail.set_content(texts.text)
        mail.add_alternative(texts.html, subtype="html")
        for file in plan.attachments:
            kind, _, subtype = file.type.partition("/")
            mail.add_attachment(file.content, maintype=kind, subtype=subtype, filename=file.name)
        return mail.as_bytes()

    return compose


class PlainJinja:
    """Renders the newsletter's files with Jinja alone: no sandbox, no limits, no folding."""

    class _Environment(Environment):
        def join_path(self, template: str, parent: str) -> str:
            return resolve_name(template, parent)

    def __init__(self, sources: TemplateSources) -> None:
        self._sources = sources
        self._environment = self._Environment(
            loader=DictLoader({name: source_text(sources.files, name) for name in sources.files}),
            autoescape=is_markup,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= LOCALE_FILTERS
        self._voices: dict[str | None, Voice] = {}

    def render(self, message: ClaimedMessage) -> list[str]:
        """Subject, page and text."""
        order = language_order(message.locale, "en")
        if message.locale not in self._voices:
            speech = speech_of(babel_locale(message.locale, "en"))
            self._voices[message.locale] = Voice(speech, ZoneInfo("UTC"))
        values = {**message.data, VOICE: self._voices[message.locale]}
        shown = []
        for part in ("subject.txt", "body.html", "body.txt"):
            found = choose(self._sources.files, self._sources.name, part, order)
            assert found is not None
            shown.append(self._environment.get_template(found[0]).render(values))
        return shown


def measure(messages: int, repeats: int) -> dict[str, object]:
    """The figures of one run."""
    people = asyncio.run(audience())
    emails = claims(people, Channel.EMAIL, messages)
    plan, pages = plan_of("newsletter"), plan_of("newsletter", with_text=False)
    workshop = email_workshop(plan, run={"id": "1"})
    from_pages = email_workshop(pages, run={"id": "1"})
    texts = sms_workshop(plan_of("reminder"), run={"id": "1"})

    def render(message: ClaimedMessage) -> Any:
        return workshop.maker.renderer.email(
            message.data, locale=message.locale, timezone=message.timezone
        )

    def compose(rendered: tuple[ClaimedMessage, Any]) -> object:
        message, shown = rendered
        return workshop.maker.composer.compose(
            message.id,
            message.address,
            shown,
            name=display_name(message.data),
            date=datetime.now(UTC),
        )

    few = emails[::PEERS_SHARE]
    rendered = [(message, render(message)) for message in few]
    each = microseconds(workshop.build, emails, repeats)
    return {
        "messages": messages,
        "messages_per_second": round(1e6 / each),
        "microseconds_each": each,
        "render": microseconds(render, emails, repeats),
        "compose": microseconds(compose, rendered, repeats),
        "without_text_part": microseconds(from_pages.build, few, repeats),
        "sms": microseconds(
            lambda message: segment(texts.build(message).text),
            claims(people, Channel.SMS, messages),
            repeats,
        ),
        "peers": {
            "email_message": microseconds(standard_library(plan, workshop), rendered, repeats),
            "jinja_only": microseconds(PlainJinja(plan.template).render, few, repeats),
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(measure(options.messages, options.repeats)))


if __name__ == "__main__":
    main()
