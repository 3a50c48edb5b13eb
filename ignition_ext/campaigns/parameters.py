"""What a run of the flow ``campaign`` is given; Prefect's UI draws its form from this."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

REFERENCE = r"^[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}$"


class CampaignParameters(BaseModel):
    """Which campaign to run, and how much of it.

    Attributes:
        campaign: ``tenant/name`` of a campaign that was applied.
        limit: at most so many messages; None for the whole audience.
        dry_run: render each message, send none.
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
    dry_run: bool = Field(
        default=False,
        title="Dry run",
        description="Render every message and report what fails, but send nothing.",
    )

    @property
    def tenant(self) -> str:
        """The tenant's name."""
        return self.campaign.partition("/")[0]

    @property
    def name(self) -> str:
        """The campaign's name within its tenant."""
        return self.campaign.partition("/")[2]
