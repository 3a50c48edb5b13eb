"""Which missed times are made up for, with the moments that Prefect's client gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from prefect.types._datetime import DateTime

from ignition_ext.campaigns.written_schedules import read_schedule
from ignition_ext.schedules.misfire import missed_times, overtaken_by

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KINDS = [{"interval": "6h"}, {"cron": "0 */6 * * *"}, {"quartz": "0 0 0/6 * * ?"}]


def of_prefect(moment: datetime) -> datetime:
    """The same moment as a field of a flow run has it."""
    return DateTime.fromisoformat(moment.isoformat())


@pytest.mark.parametrize("written", KINDS, ids=lambda written: next(iter(written)))
@pytest.mark.parametrize("given", [lambda at: at, of_prefect], ids=["plain", "of Prefect"])
def test_a_missed_time_is_overtaken_by_the_next_that_has_come(
    written: dict[str, str], given: Callable[[datetime], datetime]
) -> None:
    """Six hours later, not sooner; and both are among those that were missed."""
    schedule = read_schedule(written, now=NOON).schedule
    first, second = missed_times(schedule, BERLIN, given(NOON), NOON + timedelta(hours=12), most=9)

    assert second - first == timedelta(hours=6)
    assert overtaken_by(schedule, BERLIN, given(first), second) == second
    assert overtaken_by(schedule, BERLIN, given(first), second - timedelta(seconds=1)) is None
