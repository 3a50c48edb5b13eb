"""What the benchmarks send: the built-in templates, compiled as publishing would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignition_ext.bench.people import message_of
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.delivery.plan import CampaignPlan, email_recipe, email_workshop, sms_workshop
from ignition_ext.delivery.workshop import EmailWorkshop, SmsWorkshop
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.models import Campaign, Tenant
from ignition_ext.templates.email_maker import EmailRecipe
from ignition_ext.templates.folder import find_folders
from ignition_ext.templates.rendering.compile import compile_bundle
from ignition_ext.templates.rendering.sources import TemplateSources
from ignition_ext.values import Channel, MessageId, RunRef, new_id

FOLDER = Path(__file__).parent / "template_files"
SENDERS = {Channel.EMAIL: "Acme <news@acme.example>", Channel.SMS: "Acme"}
SAMPLES = 200
"""Rendered messages that a peer sends in turn: enough that none is cached by its length."""


def plan_for(channel: Channel, *, tenant: str) -> CampaignPlan:
    """A campaign as a flow would load it, with the built-in template of its channel."""
    name = "newsletter" if channel is Channel.EMAIL else "reminder"
    definition = CampaignDefinition.model_validate(
        {
            "name": name,
            "tenant": tenant,
            "channel": channel.value,
            "audience": {"name": "people"},
            "template": name,
            "block": "bench",
            "from": SENDERS[channel],
            "headers": {"Reply-To": "help@acme.example"} if channel is Channel.EMAIL else {},
            "owner": {"name": "Data Team", "email": "data@acme.example"},
        }
    )
    stored = StoredCampaign(
        campaign=Campaign(tenant_id=0, name=name, version=1),
        tenant=Tenant(name=tenant, title="Acme", timezone="Europe/Berlin", region="DE"),
        definition=definition,
        base_path=FOLDER,
        version=1,
        digest="",
    )
    return CampaignPlan(
        stored=stored, template=sources(name), template_version_id=0, environment="bench"
    )


def sources(name: str) -> TemplateSources:
    """One of the built-in templates, with the frame that it extends."""
    folders = {folder.name: folder for folder in find_folders(FOLDER)}
    files = {file: text for folder in folders.values() for file, text in folder.sources.items()}
    manifest = folders[name].manifest
    compiled, variables = compile_bundle(name, files, manifest)
    return TemplateSources(
        name=name,
        version=1,
        files=compiled,
        settings=manifest.model_dump(),
        variables=variables,
    )


def email_shop(plan: CampaignPlan, run: RunRef | None = None) -> EmailWorkshop:
    """What makes the emails of a plan."""
    return email_workshop(plan, run=_facts(run))


def recipe_of(plan: CampaignPlan, run: RunRef | None = None) -> EmailRecipe:
    """What the emails of a plan are made of."""
    return email_recipe(plan, run=_facts(run))


def sms_shop(plan: CampaignPlan, run: RunRef | None = None) -> SmsWorkshop:
    """What makes the text messages of a plan."""
    return sms_workshop(plan, run=_facts(run))


def _facts(run: RunRef | None) -> dict[str, Any]:
    return {} if run is None else {"id": str(run.id), "date": run.run_at}


def claimed(number: int, channel: Channel) -> ClaimedMessage:
    """One person's message as a claim would hand it out."""
    new = message_of(number, channel)
    return ClaimedMessage(
        id=MessageId(new_id()),
        channel=channel,
        address=new.address,
        domain=new.domain,
        locale=new.locale,
        timezone=new.timezone,
        attempts=0,
        data=new.data,
    )


def email_samples(count: int = SAMPLES) -> Sequence[tuple[str, str, str, str]]:
    """Address, subject, text and HTML of some messages: rendered, not yet composed."""
    renderer = email_shop(plan_for(Channel.EMAIL, tenant="bench")).maker.renderer
    samples = []
    for number in range(count):
        message = claimed(number, Channel.EMAIL)
        mail = renderer.email(message.data, locale=message.locale, timezone=message.timezone)
        samples.append((message.address, mail.subject, mail.text, mail.html or ""))
    return samples


def email_bytes() -> bytes:
    """One whole message as it goes out: how large they are."""
    shop = email_shop(plan_for(Channel.EMAIL, tenant="bench"))
    return bytes(shop.build(claimed(0, Channel.EMAIL)).content)


def sms_samples(count: int = SAMPLES) -> Sequence[tuple[str, str]]:
    """Number and text of some messages."""
    shop = sms_shop(plan_for(Channel.SMS, tenant="bench"))
    built = [shop.build(claimed(number, Channel.SMS)) for number in range(count)]
    return [(envelope.destination, envelope.text) for envelope in built]
