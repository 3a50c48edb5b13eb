"""What a run of the flow ``campaign`` is given; Prefect's UI draws its form from this."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

REFERENCE = r"^[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}$"


class CampaignParameters(BaseModel):
    """Which campaign to run, and how much of it.

    Attributes:
        campaign: ``tenant/name`` of a campaign that was applied.
        limit: at most so many messages; None for the whole audience.
        schedule: name of the schedule that started it, such as ``cron-1``; None by hand.
        dry_run: render each message, send none.
        leg: the run in the ledger that is the campaign's second channel; None for a run that
            leads, which makes the flow run of its companion itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: str = Field(
        title="Campaign",
        description="The campaign as tenant/name, for example acme/newsletter.",
        pattern=REFERENCE,
        examples=["acme/newsletter"],
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        title="Limit",
        description="At most so many messages, for a trial; empty for the whole audience.",
    )
    schedule: str | None = Field(
        default=None,
        title="Schedule",
        description="The campaign's schedule that this run is of; empty for a run by hand.",
        max_length=100,
    )
    dry_run: bool = Field(
        default=False,
        title="Dry run",
        description="Render every message and report what fails, but send nothing.",
    )
    leg: UUID | None = Field(
        default=None,
        title="Leg",
        description="Set by the run whose second channel this is; leave it empty.",
    )

    @property
    def tenant(self) -> str:
        """The tenant's name."""
        return self.campaign.partition("/")[0]

    @property
    def name(self) -> str:
        """The campaign's name within its tenant."""
        return self.campaign.partition("/")[2]


class SenderParameters(BaseModel):
    """Which run a flow run of ``sender`` helps with; the run itself starts them.

    Attributes:
        campaign: ``tenant/name``.
        run_id: the run in the ledger.
        number: from 2 on; the run's own flow is the first sender.
        version: of the campaign, as the run's own flow read it.
        template_version_id: the same of its template.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: str = Field(
        title="Campaign",
        description="The campaign as tenant/name, for example acme/newsletter.",
        pattern=REFERENCE,
    )
    run_id: UUID = Field(
        title="Run", description="Id of the run in the ledger, as campaign status shows it."
    )
    number: int = Field(default=2, ge=2, title="Number", description="Tells a run's senders apart.")
    version: int = Field(title="Version", description="Of the campaign that the run sends.")
    template_version_id: int = Field(
        title="Template version", description="Id of the template's version that the run sends."
    )
