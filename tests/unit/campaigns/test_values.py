"""Durations, schedules, senders, paths, parameters: small checks with large consequences."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.server.schemas.schedules import RRuleSchedule as ServerRule
from pydantic import ValidationError

from ignition_ext.campaigns.duration import parse_duration, write_duration
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.paths import resolve_file
from ignition_ext.campaigns.schedule import ScheduleSpec, check_cron
from ignition_ext.campaigns.sender import check_email_sender, check_sms_sender
from ignition_ext.errors import ConfigurationError
from ignition_ext.orchestration.schedules import prefect_schedule
from ignition_ext.schedules.cron import CronSchedule as CronExpression


@given(st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=3660)))
def test_durations_are_read_as_they_were_written(value: timedelta) -> None:
    """To the microsecond, in whatever unit is shortest."""
    assert parse_duration(write_duration(value)) == value


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 parsecs", "1h30m", "nan s", "1e3s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A unit is needed, and ASCII digits."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


_number = st.integers(0, 59)
_minute = st.one_of(
    st.just("*"),
    _number.map(str),
    st.tuples(st.integers(0, 29), st.integers(30, 59)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.integers(1, 30).map(lambda step: f"*/{step}"),
)


@given(_minute, st.integers(0, 23), st.sampled_from(["*", "1", "L", "1,15"]), st.just("*"))
def test_a_cron_that_is_taken_prefect_takes_too(
    minute: str, hour: int, day: str, month: str
) -> None:
    """Prefect's own validation agrees with ours on what a file may say."""
    expression = check_cron(f"{minute}  {hour} {day} {month} *")
    assert CronSchedule(cron=expression).cron == expression
    assert croniter.is_valid(expression)


@given(st.text(alphabet="0123456789*/,-LWHR?#@ MONFRI", max_size=30))
def test_no_cron_is_taken_that_prefect_refuses(text: str) -> None:
    """Ours is the narrower gate: an apply never fails half way for a schedule."""
    try:
        expression = check_cron(text)
    except ValueError:
        return
    assert CronSchedule(cron=expression)
    assert expression.startswith("@") or len(expression.split()) == 5


def test_schedules_become_prefects() -> None:
    """Cron, interval and rule, each in its zone; an interval has a fixed beginning."""
    cron = prefect_schedule(ScheduleSpec(cron="@daily"), timezone="Asia/Tokyo")
    interval = prefect_schedule(
        ScheduleSpec(interval=timedelta(hours=36), timezone="Europe/Berlin"), timezone="UTC"
    )
    rule = prefect_schedule(ScheduleSpec(rrule="FREQ=DAILY"), timezone="UTC")

    assert isinstance(cron, CronSchedule)
    assert (cron.cron, cron.timezone) == ("@daily", "Asia/Tokyo")
    assert isinstance(interval, IntervalSchedule)
    assert interval.anchor_date.isoformat() == "2020-01-01T00:00:00+01:00"
    assert isinstance(rule, RRuleSchedule)
    assert rule.rrule == "DTSTART:20200101T000000\nFREQ=DAILY"


BERLIN = ZoneInfo("Europe/Berlin")


async def as_fired(spec: ScheduleSpec, count: int, start: datetime) -> list[datetime]:
    """When Prefect's server would start the runs."""
    made = prefect_schedule(spec, timezone=BERLIN.key)
    assert isinstance(made, RRuleSchedule)
    server = ServerRule(rrule=made.rrule, timezone=made.timezone)
    return [datetime.fromisoformat(str(one)) for one in await server.get_dates(count, start=start)]


@pytest.mark.parametrize(
    "expression",
    ["0 8 1,15,31 * *", "30 6,18 */10 * *", "0 0 1,31 3,5 *", "0 9 1,31 * MON", "5 4 1,31,L * *"],
)
async def test_prefect_loses_no_day_of_march(expression: str) -> None:
    """What its own cron would leave out, it fires by a rule."""
    start = datetime(2027, 2, 20, tzinfo=BERLIN)
    expected = CronExpression.parse(expression).occurrences(start, BERLIN)

    fired = await as_fired(ScheduleSpec(cron=expression), 40, start)

    assert fired == list(islice(expected, 40))
    assert any((day := one.astimezone(BERLIN)).month == 3 and day.day < 3 for one in fired)


@pytest.mark.parametrize("days", [1, 7])
async def test_an_interval_of_days_keeps_its_time_when_clocks_change(days: int) -> None:
    """Midnight in summer, too, whenever Prefect asks."""
    for month in (1, 3, 7, 10):
        start = datetime(2027, month, 20, tzinfo=BERLIN)
        times = await as_fired(ScheduleSpec(interval=timedelta(days=days)), 20, start)
        fired = [one.astimezone(BERLIN) for one in times]
        assert {(one.hour, one.minute) for one in fired} == {(0, 0)}
        assert {(one.date() - datetime(2020, 1, 1).date()).days % days for one in fired} == {0}


@pytest.mark.parametrize(
    "sender",
    [
        "news@example.com",
        "Acme <news@example.com>",
        '"Acme, Inc." <n@mail.local>',
        "root@localhost",
        "Ö <ö@bücher.example>",
    ],
)
def test_mailboxes_are_taken(sender: str) -> None:
    """With and without a name, also of internal domains."""
    assert check_email_sender(sender) == sender


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "Acme",
        "a@",
        "@b.example",
        "a@b..example",
        "a@b.example, c@d.example",
        "a b@c.example",
        "A\n<a@b.example>",
    ],
)
def test_other_senders_of_email_are_refused(sender: str) -> None:
    """None, two, or one with a line break."""
    with pytest.raises(ValueError, match=r"mailbox|line break"):
        check_email_sender(sender)


@pytest.mark.parametrize("sender", ["ACME", "12345", "+491701234567", "My Shop", "a.b-c_d&e"])
def test_sender_ids_are_taken(sender: str) -> None:
    """Numbers, short codes and names."""
    assert check_sms_sender(sender) == sender


@pytest.mark.parametrize("sender", ["", "TWELVE CHARS", "Grüße", "+49 170", "A\r\nB", "1" * 16])
def test_other_sender_ids_are_refused(sender: str) -> None:
    """Too long, outside of the alphabet, or with a line break."""
    with pytest.raises(ValueError, match="not a sender id"):
        check_sms_sender(sender)


def test_files_stay_inside_their_folder(tmp_path: Path) -> None:
    """Neither by dots, nor absolute, nor over a link."""
    inside = tmp_path / "acme"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "a.txt").write_text("a")
    (tmp_path / "secret.txt").write_text("s")
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    (inside / "near.txt").symlink_to(inside / "sub" / "a.txt")

    assert resolve_file(inside, "sub/a.txt") == inside / "sub" / "a.txt"
    assert resolve_file(inside, "near.txt") == inside / "sub" / "a.txt"
    for name in ("../secret.txt", "sub/../../secret.txt", "/etc/passwd", "link.txt", ".", "a\0b"):
        with pytest.raises(ConfigurationError, match="outside of"):
            resolve_file(inside, name)
    with pytest.raises(ConfigurationError, match="does not exist"):
        resolve_file(inside, "none.txt")
    with pytest.raises(ConfigurationError, match="not a file"):
        resolve_file(inside, "sub")


def test_parameters_name_tenant_and_campaign() -> None:
    """The form's values in parts."""
    parameters = CampaignParameters(campaign="acme/newsletter", limit=5)
    assert (parameters.tenant, parameters.name) == ("acme", "newsletter")


@pytest.mark.parametrize(
    "said", [{"campaign": "news"}, {"campaign": "a/b", "limit": 0}, {"campaign": "a/b", "x": 1}]
)
def test_wrong_parameters_are_refused(said: dict[str, object]) -> None:
    """Before a run does anything."""
    with pytest.raises(ValidationError):
        CampaignParameters.model_validate(said)
