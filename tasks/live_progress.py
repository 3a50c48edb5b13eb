"""The progress artifact of a run: made once, then updated in place while messages go out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from ignition_ext.delivery.progress import Throttle, percent_done, summary
from ignition_ext.delivery.tally import Tally


@dataclass(slots=True)
class LiveProgress:
    """What the page of a run shows while it works; another thread keeps ``tally``."""

    reference: str
    waits_for: str = ""
    artifact: UUID | None = None
    tally: Tally = field(default_factory=Tally)
    throttle: Throttle = field(default_factory=Throttle)

    async def show(self, *, always: bool = False) -> None:
        """Bring the artifact up to date, when it is time or ``always``."""
        counts = self.tally.counts
        percent = percent_done(counts)
        if not always and not self.throttle.due(percent, time.monotonic()):
            return
        text = f"{self.reference}: {summary(counts)}"
        if self.waits_for:
            text = f"{text}; {self.waits_for}"
        if self.artifact is None:
            self.artifact = await acreate_progress_artifact(
                progress=percent, key=artifact_key("progress", self.reference), description=text
            )
        else:
            await aupdate_progress_artifact(self.artifact, percent, description=text)


def artifact_key(kind: str, reference: str) -> str:
    """``progress-acme-newsletter``: Prefect allows small letters, digits and dashes."""
    return f"{kind}-{reference}".replace("/", "-").replace(" ", "-")
