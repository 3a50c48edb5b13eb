"""The report of a run: what a page of Markdown says about it, without personal data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ignition_ext.delivery.chart import Pace, chart_svg, data_uri
from ignition_ext.delivery.page import environment
from ignition_ext.delivery.progress import ORDER, summary
from ignition_ext.values import FailureClass, MessageState

ADVICE = {
    FailureClass.ADDRESS: "Correct or drop these addresses.",
    FailureClass.MAILBOX: "The mailbox is full or closed; a later run may get through.",
    FailureClass.CONTENT: "The content was refused: look at size, links and attachments.",
    FailureClass.SENDER: "The sender was refused: check `from`, SPF and DKIM, or the sender id.",
    FailureClass.POLICY: "The receiving side's rules refused us: check reputation and blocklists.",
    FailureClass.THROTTLED: "Too fast for the server: lower `throttle.per_second`.",
    FailureClass.CONNECTION: "The link was lost; these are tried again.",
    FailureClass.AUTH: "The server wants another login: check the block.",
    FailureClass.CONFIGURATION: "The server does not take this as configured: check the block.",
    FailureClass.SYSTEM: "The server had a fault of its own; these are tried again.",
    FailureClass.RENDER: "The template does not fit these recipients: see the reply column.",
    FailureClass.ATTEMPTS: "All attempts are used up: see the last reply.",
}
DETAIL_LENGTH = 160
_EMAIL = re.compile(r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+")
_NUMBER = re.compile(r"\+?\d{7,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What is told of a run."""

    campaign: str
    run_id: UUID
    counts: Mapping[MessageState, int]
    failures_by_class: Mapping[str, int]
    examples: Sequence[Mapping[str, str]]
    template: str
    began: str
    ended: str
    seconds: float
    skipped: int = 0
    rejected: int = 0
    duplicates: int = 0
    reason: str = ""
    pace: Pace | None = None
    cost: Mapping[str, Any] | None = None
    estimated: str = ""
    fallback: str = ""
    other_leg: str = ""

    @property
    def total(self) -> int:
        """Messages of the run."""
        return sum(self.counts.values())

    @property
    def headline(self) -> str:
        """``998 sent, 2 failed``."""
        return summary(self.counts)

    @property
    def rate(self) -> float:
        """Messages that servers accepted, a second."""
        accepted = sum(
            self.counts.get(state, 0)
            for state in (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED)
        )
        return accepted / self.seconds if self.seconds else 0.0

    @property
    def states(self) -> list[dict[str, Any]]:
        """A row for each state that has messages."""
        return [
            {
                "state": state.value,
                "count": self.counts[state],
                "percent": 100 * self.counts[state] / self.total,
            }
            for state in ORDER
            if self.counts.get(state)
        ]

    @property
    def failures(self) -> list[dict[str, Any]]:
        """A row for each class of failures, the most frequent first."""
        ranked = sorted(self.failures_by_class.items(), key=lambda item: -item[1])
        return [{"name": name, "count": count, "advice": _advice(name)} for name, count in ranked]


def report_markdown(report: RunReport) -> str:
    """The report as the artifact shows it."""
    chart = data_uri(chart_svg(report.campaign, report.counts, report.pace))
    return environment().get_template("report.md.j2").render(report=report, chart=chart)


def example(row: Mapping[str, Any]) -> dict[str, str]:
    """A refused message for the report: address shortened, also inside of the server's words."""
    return {
        "address": shortened(str(row["address"])),
        "state": str(row["state"]),
        "code": str(row.get("code") or ""),
        "detail": without_addresses(str(row.get("detail") or ""))[:DETAIL_LENGTH],
    }


def shortened(address: str) -> str:
    """``j…@example.com``, ``+4917…89``: recognisable for who has the list, nobody else."""
    local, at, domain = address.rpartition("@")
    if at:
        return f"{local[:1]}…@{domain}"
    return f"{address[:5]}…{address[-2:]}"


def without_addresses(text: str) -> str:
    """A server's reply with the addresses and numbers in it shortened."""
    text = _EMAIL.sub(lambda match: shortened(match[0]), text)
    return _NUMBER.sub(lambda match: shortened(match[0]), text)


def moment(at: datetime | None) -> str:
    """A time in UTC for people."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else "–"


def _advice(name: str) -> str:
    try:
        return ADVICE[FailureClass(name)]
    except ValueError:
        return ""
