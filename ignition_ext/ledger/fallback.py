"""Lets text messages go where emails did not get through, a page of emails a transaction.

The events of a run say what ended; ``fallback_message`` says instead of what a text message goes
already, so that looking twice at an event does nothing. Each run remembers up to when it was looked
through, less a margin: a page begins where all earlier changes are known to be visible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ignition_ext.ledger.fallback_rules import EmailEnd, falls_back
from ignition_ext.ledger.fallback_wave import Page, Place, Wave
from ignition_ext.ledger.ids import ordered_keys
from ignition_ext.ledger.work import Row, Work
from ignition_ext.values import FailureClass, FallbackCause, MessageState, RunRef, RunState

PAGE = 500
"""Emails in a transaction: each becomes two rows and a place in line, and senders wait meanwhile
for SQLite's only write lock."""
MARGIN = timedelta(minutes=1)
"""Looked at again each time: a clock that is set back, or a transaction of a role that hides when
it began, costs no recipient the text message."""
TAKES_NONE = frozenset({RunState.CANCELLED, RunState.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    email_id: UUID
    seq: int
    cause: FallbackCause
    failure_class: str | None


async def take_page(work: Work, wave: Wave, begin: Place | None, limit: int) -> Page | None:
    """Look at the next emails that ended, and let text messages go instead of those that fit.

    Args:
        work: a transaction that writes.
        wave: what is looked for.
        begin: where the page before ended; None for the first.
        limit: emails in a page.

    Returns:
        None where nothing of the run falls back.
    """
    held = await work.fetch("hold_fallback", run_id=wave.lead.id)
    if not held:
        return None
    ((horizon,),) = await work.fetch("read_horizon")
    begin = begin or Place(at=work.time(held[0][0]))
    rows = await work.fetch(
        "find_fallbacks",
        run_id=wave.lead.id,
        run_at=wave.lead.run_at,
        at=begin.at,
        after=begin.message_id,
        until=wave.until,
        limit=limit,
    )
    chosen = [one for row in rows if (one := _candidate(work, row, wave.causes)) is not None]
    end = None
    if len(rows) == limit:
        end = Place(at=work.time(rows[-1][0]), message_id=work.uuid(rows[-1][1]))
    if chosen and wave.companion is None:
        return Page(horizon=work.time(horizon), end=begin, wants_companion=True)
    moved, added = await _move(work, wave, chosen) if chosen else ([], 0)
    return Page(
        moved=Counter(one.failure_class or one.cause.value for one in moved),
        added=added,
        end=end,
        horizon=work.time(horizon),
    )


def _candidate(work: Work, row: Row, causes: Collection[FallbackCause]) -> _Candidate | None:
    _, key, seq, state, failure_class, detail, resends = row
    end = EmailEnd(
        state=MessageState(state),
        failure_class=None if failure_class is None else FailureClass(failure_class),
        detail=detail,
        resends=resends,
    )
    cause = falls_back(end, causes)
    if cause is None:
        return None
    return _Candidate(email_id=work.uuid(key), seq=seq, cause=cause, failure_class=failure_class)


async def _move(
    work: Work, wave: Wave, chosen: Sequence[_Candidate]
) -> tuple[Sequence[_Candidate], int]:
    """Add text messages for those that still stand as they were read."""
    companion = wave.companion
    assert companion is not None
    run = await work.run("lock_run", companion)
    if run.state in TAKES_NONE or run.is_overdue:
        return (), 0
    ids = sorted(one.email_id for one in chosen)
    seqs = {held.id: held.seq for held in await work.lock("lock_ids", ids=ids)}
    still = [one for one in chosen if seqs.get(one.email_id) == one.seq]
    if not still:
        return (), 0
    rows = [
        {
            "id": UUID(hex=key),
            "email_id": one.email_id,
            "sms_run_id": companion.id,
            "run_at": companion.run_at,
            "cause": one.cause.value,
        }
        for key, one in zip(ordered_keys(len(still)), still, strict=True)
    ]
    added = await work.write("add_fallbacks", rows)
    keys = [row["id"] for row in rows]
    await work.fetch("queue_fallbacks", ids=keys, run_at=companion.run_at)
    await work.write("note_fallbacks", rows)
    return still, added


async def move_on(work: Work, lead: RunRef, seen_at: datetime, *, closes: bool) -> None:
    """Note up to when the run was looked through, and whether that was for good."""
    await work.fetch(
        "move_fallback",
        run_id=lead.id,
        seen_at=seen_at,
        margin=MARGIN.total_seconds(),
        closes=closes,
    )
