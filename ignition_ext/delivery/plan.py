"""What a run is made of, looked up and checked before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.paths import resolve_file
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.campaigns.store import load as load_campaign
from ignition_ext.delivery.workshop import EmailWorkshop, SmsWorkshop
from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.links import LinkPlan, link_plan
from ignition_ext.models import CampaignRun
from ignition_ext.settings import Settings
from ignition_ext.templates.attachments import Attachment, load_attachment
from ignition_ext.templates.bounce_address import BounceAddress
from ignition_ext.templates.email_maker import EmailRecipe
from ignition_ext.templates.mime_images import image_names
from ignition_ext.templates.rendering.renderer import Renderer
from ignition_ext.templates.rendering.sources import TemplateSources
from ignition_ext.templates.store import load as load_template
from ignition_ext.tenants import tenant_settings, tenants_runs
from ignition_ext.values import Channel, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPlan:
    """A campaign at the version in force, with its template; nothing of it is changed by a run."""

    stored: StoredCampaign
    template: TemplateSources
    template_version_id: int
    environment: str
    limit: int | None = None
    attachments: Sequence[Attachment] = field(default=(), repr=False)
    links: LinkPlan | None = field(default=None, repr=False)
    """The links that messages carry, None for none."""
    tenants_runs: int | None = None
    """How many runs of the tenant's may be under way at once."""
    has_run: bool = False
    """Whether a run of this campaign and template, as they are now, has begun to send before."""
    whole: CampaignDefinition | None = None
    """What the file says, where ``stored`` holds it as if it had this plan's channel alone."""
    leg: UUID | None = None
    """The run that is the second channel of another; None for one that leads."""

    @property
    def reference(self) -> str:
        """``tenant/name``."""
        return self.stored.reference

    @property
    def label(self) -> str:
        """``tenant/name``, for a second channel with it: what its artifacts are known by."""
        return self.reference if self.leg is None else f"{self.reference} {self.channel}"

    @property
    def legs(self) -> tuple[Channel, ...]:
        """The channels of the campaign, the one that leads first."""
        return (self.channel,) if self.whole is None else self.whole.legs

    @property
    def channel(self) -> Channel:
        """Which way the messages go."""
        return self.stored.definition.message_channel

    @property
    def senders(self) -> int:
        """How many flow runs may drain a run side by side, its own among them."""
        return self.stored.definition.delivery.senders

    @property
    def allowed_here(self) -> bool:
        """Whether the campaign may run in this environment; one that lists none may anywhere."""
        allowed = self.stored.definition.environments
        return not allowed or self.environment in allowed

    @property
    def why_not_here(self) -> str:
        """What a run says that ends because it is not for this environment."""
        allowed = ", ".join(self.stored.definition.environments)
        return f"{self.reference} is for {allowed}; IGNITION_ENVIRONMENT is {self.environment}."

    @property
    def has_steps(self) -> bool:
        """Whether a run that begins now goes out in steps, or stops when too much goes wrong."""
        delivery = self.stored.definition.delivery
        return bool(delivery.ramp) or delivery.stop_if is not None

    @property
    def has_hours(self) -> bool:
        """Whether the hour at the recipient decides when a message goes."""
        delivery = self.stored.definition.delivery
        return delivery.quiet_hours is not None or delivery.local_time is not None

    @property
    def timezone(self) -> str:
        """The zone that the run's name is written in: the first schedule's, else the tenant's."""
        zones = (schedule.timezone for schedule in self.stored.definition.schedules)
        return next((zone for zone in zones if zone), self.stored.tenant.timezone)


async def plan_campaign(
    session: AsyncSession,
    reference: str,
    *,
    environment: str,
    limit: int | None = None,
    channel: Channel | None = None,
    leg: UUID | None = None,
) -> CampaignPlan:
    """Look up campaign, template and attachments.

    Args:
        session: reading.
        reference: ``tenant/name``.
        environment: the one that this is.
        limit: at most so many messages.
        channel: of a campaign with two; None for the one that leads.
        leg: the run that is the second channel of another.

    Raises:
        NotFoundError: there is no such tenant, campaign or template.
        TemplateError: the template has nothing for the campaign's channel.
        ConfigurationError: an attachment is missing or too large.
    """
    stored = await load_campaign(session, reference)
    whole = stored.definition
    if channel is not None and channel not in whole.legs:
        raise ConfigurationError(
            f"{reference} sends nothing by {channel} any more.",
            mend="Cancel the run, or apply the campaign file with that channel again.",
        )
    definition = whole.leg(channel or whole.message_channel)
    stored = replace(stored, definition=definition)
    template = await load_template(
        session, tenant_id=stored.campaign.tenant_id, reference=definition.template
    )
    if definition.message_channel not in template.sources.channels:
        part = "sms.txt" if definition.message_channel is Channel.SMS else "subject.txt and a body"
        raise ConfigurationError(
            f"the template {definition.template} has nothing for {definition.message_channel}.",
            mend=f"Add {part} to its folder, then run: ignition template push",
        )
    return CampaignPlan(
        stored=stored,
        template=template.sources,
        template_version_id=template.version_id,
        environment=environment,
        limit=limit,
        whole=whole,
        leg=leg,
        tenants_runs=await tenants_runs(session, stored.campaign.tenant_id),
        has_run=await _has_run(session, stored, template.version_id, limit),
        links=await _links(session, stored, template.sources),
        attachments=[
            load_attachment(resolve_file(stored.base_path, name)) for name in definition.attachments
        ],
    )


async def _links(
    session: AsyncSession, stored: StoredCampaign, template: TemplateSources
) -> LinkPlan | None:
    definition = stored.definition
    has_own = any(name.lower() == "list-unsubscribe" for name in definition.headers)
    return link_plan(
        tenant_id=stored.campaign.tenant_id,
        channel=definition.message_channel,
        own=await tenant_settings(session, stored.campaign.tenant_id),
        files=template.files,
        wants_header=False if has_own else definition.unsubscribe,
        settings=Settings(),
    )


async def _has_run(
    session: AsyncSession, stored: StoredCampaign, template_version_id: int, limit: int | None
) -> bool:
    """Whether there is a run of the same versions for at least as many recipients.

    A run is opened after its pre-flight, so whatever has one has passed it.
    """
    most = col(CampaignRun.max_messages)
    query = (
        select(CampaignRun.id)
        .where(
            CampaignRun.campaign_id == stored.campaign.id,
            CampaignRun.campaign_version == stored.version,
            CampaignRun.template_version_id == template_version_id,
            CampaignRun.state != RunState.SKIPPED.value,
            most.is_(None) if limit is None else or_(most.is_(None), most >= limit),
        )
        .limit(1)
    )
    return (await session.exec(query)).first() is not None


def retry_of(plan: CampaignPlan) -> StandardRetry:
    """The retry policy that the campaign file asks for."""
    spec = plan.stored.definition.retry
    return StandardRetry(
        strategy=spec.strategy.value, attempts=spec.attempts, base=spec.base, max=spec.max
    )


def email_recipe(
    plan: CampaignPlan,
    *,
    run: dict[str, Any],
    envelope_from: str | None = None,
    bounce_address: str | None = None,
) -> EmailRecipe:
    """What the campaign's emails are made of; files that the HTML names as ``cid:NAME`` go inline.

    Args:
        run: what templates may name as ``run``.
    """
    tenant, definition = plan.stored.tenant, plan.stored.definition
    pages = [text for name, text in plan.template.files.items() if name.endswith(".html")]
    shown = set().union(*map(image_names, pages))
    inline = [attachment for attachment in plan.attachments if attachment.name in shown]
    return EmailRecipe(
        sources=plan.template,
        locale=tenant.locale,
        timezone=tenant.timezone,
        globals=_globals(plan, run),
        sender=definition.from_,
        headers=definition.headers,
        attachments=[attachment for attachment in plan.attachments if attachment not in inline],
        inline=inline,
        envelope_from=envelope_from,
        links=plan.links,
        bounces=None if bounce_address is None else BounceAddress.of(bounce_address),
    )


def email_workshop(
    plan: CampaignPlan, *, run: dict[str, Any], envelope_from: str | None = None
) -> EmailWorkshop:
    """Makes the campaign's emails in this process."""
    return EmailWorkshop(email_recipe(plan, run=run, envelope_from=envelope_from).maker())


def sms_workshop(plan: CampaignPlan, *, run: dict[str, Any]) -> SmsWorkshop:
    """Makes the campaign's text messages."""
    return SmsWorkshop(renderer_of(plan, run=run), plan.stored.definition.from_, plan.links)


def renderer_of(plan: CampaignPlan, *, run: dict[str, Any]) -> Renderer:
    """The renderer with the tenant's defaults and what every template may name."""
    tenant = plan.stored.tenant
    return Renderer(
        plan.template,
        locale=tenant.locale,
        timezone=tenant.timezone,
        globals=_globals(plan, run),
    )


def _globals(plan: CampaignPlan, run: dict[str, Any]) -> dict[str, Any]:
    """What every template of the campaign may name, beside the recipient's data."""
    tenant, definition = plan.stored.tenant, plan.stored.definition
    owner = definition.owner
    return {
        "campaign": {
            "name": definition.name,
            "owner": {"name": owner.name, "email": owner.email or ""} if owner else {},
        },
        "tenant": {"name": tenant.name, "title": tenant.title},
        "run": run,
    }
