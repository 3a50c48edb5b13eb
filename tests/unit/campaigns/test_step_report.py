"""The page about a stop, and the question above the form."""

from __future__ import annotations

from typing import Any

from ignition_ext.campaigns.step_report import question, stop_markdown
from ignition_ext.campaigns.step_stops import step_status
from ignition_ext.models import RunSteps
from ignition_ext.models.types import utc_now
from ignition_ext.values import new_id

STOP: dict[str, Any] = {
    "reason": "6 of 100 failed (6.00 %, at 5%)",
    "rates": [{"name": "failed", "count": 6, "tried": 100, "limit": "5%"}],
    "counts": {"sent": 94, "failed": 6, "pending": 890, "deferred": 10},
    "classes": {"mailbox": 1, "address": 5},
    "domains": {"far|<b>.example": 4, "near.example": 2},
}


def stopped(**more: Any) -> RunSteps:
    return RunSteps(
        run_id=new_id(),
        tenant_id=1,
        ramp=["10%", "100%"],
        stop_if={"failed": "5%"},
        targets=[100, 1000],
        step=1,
        released=100,
        base={},
        stops=1,
        stopped_at=utc_now(),
        stop=STOP,
        **more,
    )


def test_the_page_says_why_and_what_to_do() -> None:
    """A domain cannot break its table, or bring markup of its own."""
    steps = stopped()

    page = stop_markdown("acme/news", steps)

    assert page.startswith("# acme/news stopped: 6 of 100 failed")
    assert "| failed | 6 | 100 | 5% |" in page
    assert "94 messages are out and well; 900 wait for a decision" in page
    assert f"ignition campaign approve {steps.run_id} --continue" in page
    assert "| far\\|&lt;b>.example | 4 |" in page
    assert page.index("| address | 5 |") < page.index("| mailbox | 1 |")


def test_the_question_is_short() -> None:
    """What one has to know to press the button, the most frequent first."""
    text = question("acme/news", stopped())

    assert "6 of 100 failed (6.00 %, at 5%)" in text
    assert "- 900 messages are not sent yet" in text
    assert "- By class: 5 address, 1 mailbox" in text


def test_the_status_tells_a_stop_only_while_it_lasts() -> None:
    """A run that was cancelled, or goes on, waits for nobody; the reason stays."""
    steps = stopped(next_at=utc_now())

    waiting = step_status(steps, "paused")
    cancelled = step_status(steps, "cancelled")

    assert waiting is not None
    assert cancelled is not None
    assert (waiting.stopped_at, waiting.next_at) == (steps.stopped_at, None)
    assert cancelled.stopped_at is None
    assert cancelled.reason == STOP["reason"]
    assert step_status(None, "open") is None
