"""Schedules as files write them, and the commands that preview and explain them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.campaigns.schedule import ScheduleSpec
from ignition_ext.campaigns.written_schedules import read_schedule, read_schedules
from ignition_ext.campaigns.yaml import parse
from ignition_ext.cli import main
from ignition_ext.errors import ScheduleError
from ignition_ext.schedules.business import BusinessDay, Roll, RolledMonthly
from ignition_ext.schedules.recurring import Hourly, Monthly, Once, Weekly
from ignition_ext.schedules.schedule import Schedule

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "schedules.md").read_text()
NOW = datetime(2026, 11, 21, 7, 30, 15, 250, tzinfo=UTC)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["schedule", *arguments])
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("written", "schedule"),
    [
        ({"every": "hour", "at": ":15"}, Hourly(minute=15)),
        ({"every": "hour", "at": 5}, Hourly(minute=5)),
        ({"every": "hour"}, Hourly()),
        ({"every": "day", "at": "9:00"}, Weekly(at=time(9))),
        ({"every": "week", "on": "FRI-MON"}, Weekly(at=time(), days=(1, 2, 6, 7))),
        ({"every": "week", "on": ["mon", "THU"]}, Weekly(at=time(), days=(2, 5))),
        ({"every": "month", "on": [15, "last"]}, Monthly(at=time(), days=(15, -1))),
        ({"every": "month", "on": 1, "at": "09:00:30"}, Monthly(at=time(9, 0, 30), days=(1,))),
        ({"once": "2026-12-01T09:00"}, Once(at=datetime(2026, 12, 1, 9))),
        ({"once_after": "2h"}, Once(at=datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC))),
    ],
)
def test_each_kind_is_read(written: dict[str, Any], schedule: Schedule) -> None:
    """Friendly spellings mean what they look like."""
    assert read_schedule(written, now=NOW).schedule == schedule


def test_calendars_are_read_with_dates_and_roll() -> None:
    """For the nth business day and for days of the month."""
    shared = {"calendar": "de-by", "dates": ["2026-12-24"], "roll": "back", "at": "09:00"}
    counted = read_schedule({"business_day": "last", **shared}, now=NOW).schedule
    rolled = read_schedule({"every": "month", "on": 15, **shared}, now=NOW).schedule

    assert isinstance(counted, BusinessDay)
    assert isinstance(rolled, RolledMonthly)
    assert (counted.number, rolled.monthly.days) == (-1, (15,))
    for found in (counted, rolled):
        assert (found.calendar.code, found.roll) == ("DE-BY", Roll.BACK)
        assert not found.calendar.is_business_day(date(2026, 12, 24))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({}, "needs a kind"),
        ({"cron": "0 8 * * *", "rrule": "FREQ=DAILY"}, "exactly one kind"),
        ({"cron": "0 8 * * *", "at": "09:00"}, "at: it does not go with cron"),
        ({"cron": "0 8 * * *", "timezone": "CEST5"}, "Europe/Berlin"),
        ({"every": "fortnight"}, "hour, day, week or month"),
        ({"every": "hour", "at": "09:15"}, "minute of an hour"),
        ({"every": "week"}, "on|day of week"),
        ({"every": "week", "on": 1}, "differently"),
        ({"every": "month"}, "on:"),
        ({"every": "month", "on": 32}, "1 to 31"),
        ({"business_day": 1}, "DE-BY"),
        ({"business_day": "first", "calendar": "DE"}, "business_day:"),
        ({"business_day": 1, "calendar": "DE", "roll": "up"}, "roll:"),
        ({"business_day": 1, "calendar": "DE", "dates": ["24.12."]}, "dates:"),
        ({"interval": "90"}, "interval:"),
        ({"interval": "999999999999w"}, "interval:"),
        ({"once": "tomorrow"}, "once:"),
        ({"once": "9999-12-31T23:59"}, "2199"),
        ({"once_after": "0s"}, "once_after:"),
    ],
)
def test_what_is_wrong_is_named(written: dict[str, Any], words: str) -> None:
    """The key, and what to write instead."""
    with pytest.raises(ScheduleError, match=words):
        read_schedule(written, now=NOW)


def test_the_page_tells_each_kind_with_an_example_that_is_read() -> None:
    """Its example names each kind once at least."""
    example, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    document = parse(example.encode()).value

    assert len(read_schedules(document, now=NOW)) == len(document["schedules"])
    for kind in ("cron", "quartz", "rrule", "interval", "business_day", "once", "once_after"):
        assert any(kind in item for item in document["schedules"]), kind
        assert f"`{kind}`" in PAGE
    assert {item["every"] for item in document["schedules"] if "every" in item} == {
        *("hour", "day", "week", "month")
    }


def test_each_example_of_the_page_can_stand_in_a_campaign_file() -> None:
    """With what only a campaign file says of a schedule, such as its condition."""
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    schedules = [item for one in examples for item in parse(one.encode()).value["schedules"]]

    assert any("condition" in item for item in schedules)
    for item in schedules:
        ScheduleSpec.model_validate(item)


def test_the_commands_are_told() -> None:
    """On the page of commands."""
    commands = (DOCS / "command-line.md").read_text()
    assert "`ignition schedule preview" in commands
    assert "`ignition schedule explain`" in commands


def test_preview_prints_the_next_times_as_json(run: Run) -> None:
    """In UTC, on stdout alone."""
    code, out, err = run(
        *("preview", "--cron", "0 8 * * *", "--timezone", "Europe/Berlin"),
        *("--from", "2026-11-20T08:00", "--count", "2", "--json"),
    )

    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "valid": True,
        "next": ["2026-11-21T07:00:00Z", "2026-11-22T07:00:00Z"],
    }


@pytest.mark.parametrize(
    ("arguments", "first", "count"),
    [
        (["--quartz", "0 0 0 1 1 ? 2027-2028"], "2027-01-01T00:00:00Z", 2),
        (["--quartz", "0 0 0 1 1 ? 2020"], None, 0),
        (["--rrule", r"DTSTART:20270101T090000\nRRULE:FREQ=DAILY;COUNT=3"], "2027-01-01T09", 3),
        (["--business-day", "-1", "--calendar", "DE", "--at", "9:00"], "2026-11-30T09", 10),
        (["--business-day", "3", "--calendar", "US", "--roll", "back"], "2026-12-03T00", 10),
    ],
)
def test_fewer_times_are_printed_when_there_are_no_more(
    run: Run, arguments: list[str], first: str | None, count: int
) -> None:
    """Also none."""
    code, out, _ = run("preview", *arguments, "--from", "2026-11-21T00:00:00Z", "--json")
    times = json.loads(out)["next"]

    assert (code, len(times)) == (0, count)
    assert first is None or times[0].startswith(first)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cron", "0 0 8 * * ?"], "quartz"),
        (["--quartz", "0 0 8 * * *"], "exactly one '?'"),
        (["--rrule", "FREQ=NEVER"], "RFC 5545"),
        (["--business-day", "1", "--calendar", "XX"], "DE-BY"),
        (["--cron", "0 8 * * *", "--timezone", "Mars/Base"], "Europe/Berlin"),
        (["--cron", "0 8 * * *", "--from", "soon"], "2026-11-21T07:00:00Z"),
        (["--file", "/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
@pytest.mark.parametrize("command", ["preview", "explain"])
def test_a_wrong_schedule_is_an_answer_with_exit_1(
    run: Run, command: str, arguments: list[str], words: str
) -> None:
    """As JSON on stdout, else as an error on stderr."""
    if command == "explain" and "--from" in arguments:
        return
    code, out, err = run(command, *arguments, "--json")
    answer = json.loads(out)
    assert (code, answer["valid"], err) == (1, False, "")
    assert words in answer["error"]

    code, out, err = run(command, *arguments)
    assert (code, out) == (1, "")
    assert words in " ".join(err.split())


@pytest.mark.parametrize(
    "arguments", [[], ["--cron", "0 8 * * *", "--rrule", "FREQ=DAILY"], ["--cron"]]
)
def test_none_or_two_schedules_are_wrong_usage(run: Run, arguments: list[str]) -> None:
    """Exit 2."""
    assert run("preview", *arguments, "--json")[0] == 2


def test_a_file_is_previewed_and_explained_as_a_whole(run: Run, tmp_path: Path) -> None:
    """All its schedules together, each in its zone, each time once."""
    path = tmp_path / "campaign.yaml"
    path.write_text(
        "name: welcome\nschedules:\n"
        '  - {cron: "0 8 * * *", timezone: Europe/Berlin}\n'
        '  - {quartz: "0 0 7 * * ?"}\n'
        '  - {cron: "0 12 * * *"}\n'
    )
    start = ("--from", "2026-11-21T06:00:00Z", "--count", "3", "--json")

    _, out, _ = run("preview", "--file", str(path), *start)
    _, words, _ = run("explain", "--file", str(path))

    assert json.loads(out)["next"] == [
        *("2026-11-21T07:00:00Z", "2026-11-21T12:00:00Z", "2026-11-22T07:00:00Z")
    ]
    assert words.splitlines() == [
        "At 08:00, every day (Europe/Berlin).",
        "At 07:00, every day (UTC).",
        "At 12:00, every day (UTC).",
    ]


def test_a_table_for_people_shows_the_wall_too(run: Run) -> None:
    """UTC first, then what the clock shows there."""
    given = ("--cron", "0 8 * * *", "--timezone", "Europe/Berlin", "--from", "2027-06-30T12:00")
    _, out, _ = run("preview", *given, "--count", "1")

    assert out.split() == ["2027-07-01T06:00:00Z", "Thu", "01", "Jul", "2027", "08:00:00", "CEST"]


def test_a_note_tells_what_prefect_would_leave_out(run: Run) -> None:
    """On stderr, and not beside an expression that Prefect reads well."""
    assert "March" in run("preview", "--cron", "0 8 */10 * *")[2]
    assert run("preview", "--cron", "0 8 1,15 * *")[2] == ""
