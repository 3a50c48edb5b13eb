"""Durations, schedules, senders, paths, parameters: small checks with large consequences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import ValidationError

from ignition_ext.campaigns.duration import parse_duration, write_duration
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.paths import resolve_file
from ignition_ext.campaigns.schedule import ScheduleSpec, find_schedule
from ignition_ext.campaigns.sender import check_email_sender, check_sms_sender
from ignition_ext.campaigns.written_schedules import read_schedule
from ignition_ext.errors import ConfigurationError
from ignition_ext.orchestration.schedules import Timetable
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
    expression = CronExpression.parse(f"{minute}  {hour} {day} {month} *").expression
    assert CronSchedule(cron=expression).cron == expression
    assert croniter.is_valid(expression)


@given(st.text(alphabet="0123456789*/,-LWHR?#@ MONFRI", max_size=30))
def test_no_cron_is_taken_that_prefect_refuses(text: str) -> None:
    """Ours is the narrower gate: an apply never fails half way for a schedule."""
    try:
        expression = CronExpression.parse(text).expression
    except ValueError:
        return
    assert CronSchedule(cron=expression)
    assert expression.startswith("@") or len(expression.split()) == 5


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def timetable(*written: dict[str, Any], timezone: str = "UTC") -> Timetable:
    specs = [ScheduleSpec.model_validate(one) for one in written]
    return Timetable(specs=specs, timezone=timezone, applied_at=NOW, holidays=())


def test_schedules_become_prefects() -> None:
    """Cron, interval and rule, each in its zone; an interval has a fixed beginning."""
    cron, interval, rule = timetable(
        {"cron": "@daily"},
        {"interval": "36h", "timezone": "Europe/Berlin"},
        {"rrule": "FREQ=DAILY"},
        timezone="Asia/Tokyo",
    ).prefect(NOW)

    assert isinstance(cron.schedule, CronSchedule)
    assert (cron.schedule.cron, cron.schedule.timezone) == ("@daily", "Asia/Tokyo")
    assert isinstance(interval.schedule, IntervalSchedule)
    assert interval.schedule.anchor_date.isoformat() == "2019-12-31T23:00:00+00:00"
    assert isinstance(rule.schedule, RRuleSchedule)
    assert rule.schedule.rrule == "DTSTART:20200101T000000\nFREQ=DAILY"
    assert [one.slug for one in (cron, interval, rule)] == ["cron-1", "interval-2", "rrule-3"]


def test_a_schedule_is_known_by_its_name_in_prefect() -> None:
    """And what stands beside it for hours that come twice by the same."""
    berlin = {"timezone": "Europe/Berlin"}
    wanted = timetable(
        {"business_day": 3, "at": "09:00", "calendar": "DE-BY"}, {"quartz": "0 0 * * * ?", **berlin}
    )
    slugs = [one.slug for one in wanted.prefect(NOW)]

    assert slugs == ["business-day-1", "quartz-2", "quartz-2-clocks"]
    assert [find_schedule(wanted.specs, slug) for slug in slugs] == [
        wanted.specs[0],
        wanted.specs[1],
        wanted.specs[1],
    ]
    for slug in (None, "", "quartz-1", "cron-2", "CronSchedule"):
        assert find_schedule(wanted.specs, slug) is None


def test_what_is_still_good_is_left_as_it_is() -> None:
    """The same again changes nothing; half way through its dates it is made anew."""
    wanted = timetable({"quartz": "0 30 2 * * ?", "timezone": "Europe/Berlin"})
    first = wanted.prefect(NOW)
    there = [DeploymentSchedule(id=uuid4(), **one.model_dump()) for one in first]

    assert wanted.prefect(NOW + timedelta(days=20), there) == first
    assert wanted.prefect(NOW + timedelta(days=300), there) != first


def test_the_tenants_holidays_count() -> None:
    """A day of the tenant's own moves the run as a public holiday does."""
    wanted = timetable({"business_day": 1, "at": "09:00", "calendar": "DE"})
    own = replace(wanted, holidays={date(2026, 12, 1)})

    assert "RDATE:20261201T090000," in wanted.prefect(NOW)[0].schedule.model_dump()["rrule"]
    assert "RDATE:20261202T090000," in own.prefect(NOW)[0].schedule.model_dump()["rrule"]


@pytest.mark.parametrize("key", ["condition", "misfire", "grace", "active"])
def test_a_preview_reads_over_what_only_runs_act_on(key: str) -> None:
    """So a whole campaign file can be previewed."""
    said = {"cron": "0 8 * * *", key: False}
    assert read_schedule(said, now=NOW).schedule == CronExpression.parse("0 8 * * *")


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
