"""Lets somebody send the text messages that go instead of emails; repeated without harm."""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient

from ignition_ext.database import Database
from ignition_ext.ledger.fallback_counts import Fallen
from ignition_ext.ledger.fallback_runs import Fallback, FellBack, let_fall_back, open_fallbacks
from ignition_ext.ledger.run_rows import read_run
from ignition_ext.orchestration.legs import start_leg
from ignition_ext.orchestration.runs import wake
from ignition_ext.values import RunState

REASON = "emails fell back to text messages"


async def fall_back_everywhere(
    database: Database, client: PrefectClient, *, actor: str
) -> dict[str, str]:
    """Look through all runs whose emails may fall back; what was done, by the run's name.

    A companion that has no flow run yet is left to whoever starts those.
    """
    done: dict[str, str] = {}
    async with database.read() as session:
        runs = await open_fallbacks(session)
    for one in runs:
        found = await let_fall_back(database, one, actor=actor)
        is_sent = await send_texts(database, client, found, one, actor=actor)
        if found.total or is_sent:
            done[one.name] = words(found)
    return done


async def send_texts(
    database: Database, client: PrefectClient, found: FellBack, one: Fallback, *, actor: str
) -> bool:
    """Start a companion again that has ended, or waits for later, where it has more to send.

    Returns:
        Whether it was started; not one that has no flow run yet, or is sending.
    """
    if found.companion is None or not (found.added or one.is_stranded):
        return False
    async with database.read() as session:
        row = await read_run(session, found.companion.id)
    if row.flow_run_id is None:
        return False
    if await start_leg(database, client, row.id, reason=REASON, actor=actor):
        return True
    return row.state == RunState.OPEN and await wake(client, row)


def words(found: FellBack) -> str:
    """What a search came to, for people."""
    if not found.total:
        return "its text messages that were left are sent"
    return str(Fallen(emails=found.total, by_class=found.moved, text_messages=found.added))
