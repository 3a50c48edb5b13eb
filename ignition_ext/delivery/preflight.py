"""Pre-flight: what a run would do, and whether it should be let go.

Everything is made, addressed and counted as a run would (:mod:`~ignition_ext.delivery.examine`),
the server is asked without sending, and the duration is estimated. What comes of it is a list of
findings; one that is an error keeps the run from beginning.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ignition_ext.audience import open_source
from ignition_ext.campaigns.legs import CampaignChannel
from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.channels.smtp import ServerOffer, SmtpOptions
from ignition_ext.database import Database
from ignition_ext.delivery.estimate import Estimate, estimate, past_rate, usual_rate
from ignition_ext.delivery.examine import Examined, Examiner, Progress, Rehearsal
from ignition_ext.delivery.finding import Finding, Severity
from ignition_ext.delivery.inquiry import Answer, ask_server
from ignition_ext.delivery.limits import read_limits
from ignition_ext.delivery.local_time import database_clock, local_time_of
from ignition_ext.delivery.plan import CampaignPlan, email_workshop, sms_workshop
from ignition_ext.delivery.preflight_costs import judge_costs, read_purse
from ignition_ext.delivery.recipients import Hours
from ignition_ext.delivery.rehearsal import EmailRehearsal, SmsRehearsal
from ignition_ext.delivery.steps import PlannedStep, planned_steps, with_waits
from ignition_ext.errors import ConfigurationError, TemplateError
from ignition_ext.settings import Settings
from ignition_ext.tenants import INVALID_PERCENT, UNFIT_PERCENT, tenant_settings
from ignition_ext.values import Channel, FailureClass


class ChannelBlock(Protocol):
    """What a campaign sends through: a block of either type."""

    @property
    def rate(self) -> float | None:
        """Messages a second that the server takes: for SMS of one bind, in segments."""
        ...

    def options(self) -> SmtpOptions | SmppOptions:
        """Where and how."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What is let pass, in per cent; a tenant's own go before the settings'.

    Attributes:
        unfit: of a run's messages that cannot go out.
        invalid: of the audience's rows that are no recipient.
    """

    unfit: float
    invalid: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What a run would do."""

    reference: str
    version: int
    template: str
    limit: int | None
    found: Examined
    answer: Answer
    estimate: Estimate
    findings: Sequence[Finding]

    steps: Sequence[PlannedStep] = ()
    """The run's, with a ramp."""
    at_most: str = ""
    """``at most ``, for texts that only go where an email does not get through."""

    @property
    def would_run(self) -> bool:
        """Whether nothing keeps a run from beginning."""
        return not any(one.severity is Severity.ERROR for one in self.findings)

    @property
    def headline(self) -> str:
        """``would send 998 (2 cannot be sent)``."""
        unfit = self.found.unfit_total
        so_many = f"{self.at_most}{self.found.messages}"
        by = "" if self.found.is_alone else f" by {self.found.channel}"
        return f"would send {so_many}{by}" + (f" ({unfit} cannot be sent)" if unfit else "")

    def require(self) -> None:
        """Refuse a run that should not begin.

        Raises:
            ConfigurationError: with every error, and what to mend.
        """
        errors = [one for one in self.findings if one.severity is Severity.ERROR]
        if self.answer.error is not None and self.answer.is_fatal and len(errors) == 1:
            raise self.answer.error  # in its own class: who waits for servers knows it by that
        if errors:
            mends = [one.mend for one in errors if one.mend]
            raise ConfigurationError(
                f"pre-flight refuses to run {self.reference}: "
                + "; ".join(one.text for one in errors),
                mend=" ".join([*mends, f"See all with: ignition campaign check {self.reference}"]),
            )


def require_columns(plan: CampaignPlan, columns: Sequence[str]) -> None:
    """Check that the audience has what the template needs.

    Raises:
        TemplateError: it lacks columns; names them.
    """
    missing = sorted(set(plan.template.variables) - set(columns))
    if missing:
        raise TemplateError(
            f"it needs {', '.join(missing)}, and the audience has no such column.",
            template=plan.template.name,
            mend="Add the column to the audience, or a default to template.yaml.",
        )


async def check_campaign(
    database: Database,
    plan: CampaignPlan,
    block: ChannelBlock,
    *,
    envelope_from: str | None = None,
    run: dict[str, Any],
    begin: datetime | None = None,
    resolve_block: Callable[[str], Awaitable[str]],
    samples: int = 0,
    on_progress: Progress | None = None,
) -> Preflight:
    """Go through everything that a run of the plan would, and send nothing.

    Args:
        database: Ignition's.
        plan: the campaign.
        block: its server.
        envelope_from: the server's own sender for bounces.
        run: what templates may name as ``run``.
        begin: when the run was to begin; now where None.
        resolve_block: gives the database URL of a block, for an audience that is a query.
        samples: how many messages to keep as they would go out.
        on_progress: told while the audience streams by.

    Raises:
        IgnitionError: the template or the audience cannot be used at all.
    """
    options = block.options()
    answer = await ask_server(database, plan, options)
    rehearsal = _rehearsal(plan, options, answer, run=run, envelope_from=envelope_from)
    clock = await database_clock(database)
    begin = begin or clock()
    hours = None
    if plan.has_hours:
        hours = Hours(rules=local_time_of(plan, begin), begin=begin, now=clock)
    purse = await read_purse(database, plan)
    examiner = Examiner(
        database,
        plan,
        rehearsal,
        hours=hours,
        samples=samples,
        on_progress=on_progress,
        card=purse.card,
    )
    async with open_source(
        database,
        tenant=plan.stored.tenant,
        spec=plan.stored.definition.audience,
        base_path=plan.stored.base_path,
        resolve_block=resolve_block,
        rejects=None,
    ) as source:
        require_columns(plan, source.columns)
        found = await examiner.examine(source)
    expected = await _estimate(database, plan, block, options, found, hours, clock())
    delivery = plan.stored.definition.delivery
    steps = planned_steps(delivery, found.messages, expected)
    expected = with_waits(expected, delivery, steps)
    return Preflight(
        reference=plan.reference,
        version=plan.stored.version,
        template=f"{plan.template.name}@{plan.template.version}",
        limit=plan.limit,
        found=found,
        answer=answer,
        estimate=expected,
        steps=steps,
        at_most=_at_most(plan),
        findings=_errors_first(
            *judge(found, answer, expected, await _thresholds(database, plan)),
            *judge_costs(found, purse),
            *_unsubscribing(plan),
        ),
    )


def _at_most(plan: CampaignPlan) -> str:
    whole = plan.whole
    falls_back = whole is not None and whole.channel is CampaignChannel.FALLBACK
    return "at most " if falls_back and plan.channel is Channel.SMS else ""


def _rehearsal(
    plan: CampaignPlan,
    options: SmtpOptions | SmppOptions,
    answer: Answer,
    *,
    run: dict[str, Any],
    envelope_from: str | None,
) -> Rehearsal:
    if isinstance(options, SmppOptions):
        return SmsRehearsal(sms_workshop(plan, run=run), options)
    offer = answer.offer if isinstance(answer.offer, ServerOffer) else None
    return EmailRehearsal(email_workshop(plan, run=run, envelope_from=envelope_from), offer)


async def _estimate(
    database: Database,
    plan: CampaignPlan,
    block: ChannelBlock,
    options: SmtpOptions | SmppOptions,
    found: Examined,
    hours: Hours | None,
    now: datetime,
) -> Estimate:
    async with database.read() as session:
        server_rate = None if isinstance(options, SmppOptions) else block.rate
        limits = await read_limits(session, plan, server=options.server, server_rate=server_rate)
        rates = [await past_rate(session, plan)]
    if isinstance(options, SmppOptions) and options.rate is not None and found.messages:
        each = found.all_segments / found.messages
        rates.append((options.rate * options.binds / each, f"the rate of {options.server}"))
    past = min((rate for rate in rates if rate is not None), default=None)
    return estimate(
        found.held,
        found.messages,
        usual_rate(limits, past, found.domains),
        now=now.astimezone(UTC),
        rules=None if hours is None else hours.rules,
        deadline=plan.stored.definition.delivery.deadline,
    )


async def _thresholds(database: Database, plan: CampaignPlan) -> Thresholds:
    settings = Settings()
    async with database.read() as session:
        own = await tenant_settings(session, plan.stored.campaign.tenant_id)
    return Thresholds(
        unfit=float(own.get(UNFIT_PERCENT, settings.preflight_unfit_percent)),
        invalid=float(own.get(INVALID_PERCENT, settings.preflight_invalid_percent)),
    )


def judge(
    found: Examined, answer: Answer, expected: Estimate, allowed: Thresholds
) -> list[Finding]:
    """What is to be said of a pre-flight: errors first."""
    return _errors_first(
        *_server(answer),
        *_audience(found, allowed),
        *_messages(found, allowed),
        *_hours(expected),
    )


def _errors_first(*findings: Finding) -> list[Finding]:
    return sorted(findings, key=lambda one: one.severity is not Severity.ERROR)


def _unsubscribing(plan: CampaignPlan) -> list[Finding]:
    """Whether bulk mail says how to end it; `unsubscribe: false` says that this is none."""
    definition, links = plan.stored.definition, plan.links
    if plan.channel is not Channel.EMAIL or definition.unsubscribe is False:
        return []
    has_header = links is not None and links.has_header
    if has_header or any(name.lower() == "list-unsubscribe" for name in definition.headers):
        return []
    text = "the emails bear no List-Unsubscribe, which large mailbox providers ask of bulk mail"
    mend = "Set unsubscribe: true, or false where this is no bulk mail; see docs/web.md."
    return [Finding(severity=Severity.WARNING, text=text, mend=mend)]


def _server(answer: Answer) -> list[Finding]:
    error = answer.error
    if error is None:
        return []
    severity = Severity.ERROR if answer.is_fatal else Severity.WARNING
    return [Finding(severity=severity, text=error.message.rstrip("."), mend=error.mend)]


def _audience(found: Examined, allowed: Thresholds) -> list[Finding]:
    findings = []
    rows = found.rejected + found.recipients
    percent = 100 * found.rejected / rows if rows else 0.0
    if not found.taken:
        findings.append(
            Finding(
                severity=Severity.ERROR if found.is_alone else Severity.WARNING,
                text=f"the audience has nobody to write to by {found.channel}: {found.recipients}"
                f" recipients, {found.skipped} of them without an address for it,"
                f" {found.rejected} rejected rows",
                mend="Look at the audience (ignition audience list) and at `where`.",
            )
        )
    elif percent > allowed.invalid:
        findings.append(
            Finding(
                severity=Severity.ERROR,
                text=f"{found.rejected} of {rows} rows ({percent:.1f} %) are no recipient,"
                f" more than {allowed.invalid:g} %",
                mend="Correct the addresses, or raise preflight.invalid_percent of the tenant.",
            )
        )
    elif found.rejected:
        text = f"{found.rejected} of {rows} rows are no recipient and are left out"
        findings.append(Finding(severity=Severity.WARNING, text=text))
    if found.partial:
        text = f"{found.partial} recipients lose a wrong field, such as one of two addresses"
        findings.append(Finding(severity=Severity.WARNING, text=text))
    return findings


def _messages(found: Examined, allowed: Thresholds) -> list[Finding]:
    findings = []
    sendable = found.messages + found.unfit_total
    percent = 100 * found.unfit_total / sendable if sendable else 0.0
    if found.unfit_total and (percent > allowed.unfit or not found.messages):
        kinds = ", ".join(f"{count} {_KINDS[kind]}" for kind, count in found.unfit.most_common())
        findings.append(
            Finding(
                severity=Severity.ERROR,
                text=f"{found.unfit_total} of {sendable} messages ({percent:.1f} %) cannot go out,"
                f" more than {allowed.unfit:g} % ({kinds}); the first, row"
                f" {found.problems[0].row}: {found.problems[0].reason.rstrip('.')}",
                mend="Correct template or audience, or raise preflight.unfit_percent of the"
                " tenant.",
            )
        )
    elif found.unfit_total:
        text = f"{found.unfit_total} of {sendable} messages cannot go out and will be failed"
        findings.append(Finding(severity=Severity.WARNING, text=text))
    elif found.taken and not found.messages:
        text = f"all {found.suppressed} recipients are on the suppression list"
        severity = Severity.ERROR if found.is_alone else Severity.WARNING
        findings.append(Finding(severity=severity, text=text, mend="Nobody may be written."))
    for name, count in found.empty.most_common():
        rows = ", ".join(map(str, found.empty_rows[name]))
        text = f"{count} recipients have no {name}, which the template shows (rows {rows} …)"
        findings.append(Finding(severity=Severity.WARNING, text=text))
    return findings


_KINDS = {
    FailureClass.RENDER: "cannot be rendered",
    FailureClass.ADDRESS: "cannot be addressed",
    FailureClass.CONTENT: "would be refused",
}


def _hours(expected: Estimate) -> list[Finding]:
    if not expected.late:
        return []
    text = f"{expected.late} messages would not go before the deadline, and expire"
    mend = "Lengthen delivery.deadline, or begin earlier."
    return [Finding(severity=Severity.WARNING, text=text, mend=mend)]
