"""Campaign files: what is taken, and how a wrong one is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ignition_ext.campaigns.definition import CampaignDefinition, RetryStrategy
from ignition_ext.campaigns.file import load_campaign_file, read_campaign
from ignition_ext.errors import CampaignFileError
from ignition_ext.values import Channel, Guarantee

ROOT = Path(__file__).parents[3]
WHOLE = """\
name: welcome
tenant: acme
channel: email
audience: {name: customers, where: "country = 'DE'"}
template: welcome@3
block: acme-mail
from: "Acme <news@example.com>"
headers: {Reply-To: help@example.com}
attachments: [terms.pdf]
schedules:
  - {cron: "0 8 * * MON-FRI", timezone: Europe/Berlin}
delivery: {guarantee: at-most-once, senders: 1, batch: 2000, deadline: 6h}
throttle: {per_second: 200}
retry: {strategy: exponential_jitter, attempts: 5, base: 30s, max: 1h}
owner: {name: Data Team, email: data@example.com}
environments: [dev, prod]
"""
CRON = 'cron: "0 8 * * MON-FRI"'
SMS = """\
name: reminder
tenant: acme
channel: sms
audience: {csv: people.csv}
template: reminder
block: acme-sms
from: "ACME"
"""


def read(text: str) -> CampaignDefinition:
    return read_campaign(text.encode(), "c.yaml")


def test_the_designs_file_is_taken() -> None:
    """Every key of it lands where the rest of Ignition looks."""
    definition = read(WHOLE)

    assert definition.reference == "acme/welcome"
    assert definition.message_channel is Channel.EMAIL
    assert definition.from_ == "Acme <news@example.com>"
    assert definition.delivery.deadline == timedelta(hours=6)
    assert definition.delivery.guarantee is Guarantee.AT_MOST_ONCE
    assert definition.retry.strategy is RetryStrategy.EXPONENTIAL_JITTER
    assert definition.schedules[0].cron == "0 8 * * MON-FRI"
    assert definition.environments == ["dev", "prod"]


def test_what_is_stored_reads_back_as_the_same() -> None:
    """The database holds JSON; nothing is lost in it."""
    hours = ('quiet_hours: "21:00-08:00", local_time: "09:30"', "local_time: true")
    for text in (WHOLE, SMS, *(changed("senders: 1", written) for written in hours)):
        definition = read(text)
        stored = definition.model_dump(mode="json", by_alias=True)
        assert CampaignDefinition.model_validate(stored) == definition


@pytest.mark.parametrize("name", ["newsletter", "reminder"])
def test_the_sample_campaigns_are_right(name: str) -> None:
    """They name their tenant as their folder does."""
    definition = load_campaign_file(ROOT / "deployments" / "acme" / f"{name}.yaml")
    assert definition.reference == f"acme/{name}"


def changed(old: str, new: str, text: str = WHOLE) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("text", "line", "field", "words", "mend"),
    [
        (changed("template:", "tmplate:"), 5, "tmplate", "not a key", "`template`"),
        (changed("name: customers", "nmae: x"), 4, "audience.nmae", "not a key", "`name`"),
        (changed("name: welcome\n", ""), 1, "name", "missing", "Add it"),
        (changed("welcome\n", "Welcome\n"), 1, "name", "not a name", "small letters"),
        (changed("channel: email", "channel: fax"), 3, "channel", "no channel 'fax'", ""),
        (changed("channel: email", "channel: both"), 1, "", "needs an sms section", ""),
        (changed("channel: email", "channel: fallback"), 1, "", "needs an sms section", ""),
        (changed("name: customers", "name: a, csv: b"), 4, "audience", "exactly one", ""),
        (changed("name: customers", "sql: select 1"), 4, "audience", "sql needs block", ""),
        (changed("name: customers", "name: 7"), 4, "audience.name", "number", '"7"'),
        (changed("welcome@3", "welcome@0"), 5, "template", "pattern", ""),
        (changed('"Acme <news@example.com>"', "Acme"), 7, "from", "not a mailbox", ""),
        (changed("Acme <news", "A <a@b.example>, B <news"), 7, "from", "one mailbox", ""),
        (changed("Acme <news", 'Acme\\r\\nBcc: x@y.example <news'), 7, "from", "line break", ""),
        (changed("Reply-To: help", "Subject: help"), 8, "headers", "by Ignition itself", ""),
        (changed("Reply-To: help", '"X-A: b": help'), 8, "headers", "not a header", ""),
        (changed("help@example.com", '"a\\r\\nBcc: b"'), 8, "headers", "line break", ""),
        (changed("[terms.pdf]", "terms.pdf"), 9, "attachments", "list", ""),
        (changed("[terms.pdf]", "[a, a]"), 9, "attachments", "twice", ""),
        (changed("{cron:", "{quartz:"), 11, "schedules.0.quartz", "5 fields", ""),
        (
            changed('{cron: "0 8 * * MON-FRI"', '{business_day: 3, at: "09:00"'),
            11,
            "schedules.0.calendar",
            "such as DE-BY",
            "",
        ),
        (changed("{cron:", "{at: 9, cron:"), 11, "schedules.0.at", "not go with cron", ""),
        (changed("{cron:", "{once_after: 1h, cron:"), 11, "schedules.0", "exactly one kind", ""),
        (changed("{cron:", "{misfire: later, cron:"), 11, "schedules.0.misfire", "skip", ""),
        (changed("{cron:", "{grace: 1h, cron:"), 11, "schedules.0", "goes with misfire", ""),
        (
            changed("{cron:", "{condition: {sql: select 1}, cron:"),
            11,
            "schedules.0.condition",
            "sql needs block",
            "",
        ),
        (
            changed("{cron:", "{condition: {variables: x}, cron:"),
            11,
            "schedules.0.condition.variables",
            "not a key",
            "`variable`",
        ),
        (changed("0 8 * *", "0 0 8 * *"), 11, "schedules.0.cron", "6 fields", ""),
        (changed("0 8 * * MON-FRI", "0 8 31 2 *"), 11, "schedules.0.cron", "ever fires", ""),
        (changed("0 8 * * MON-FRI", "0 8 15W * *"), 11, "schedules.0.cron", "'15W'", ""),
        (changed("0 8 * * MON-FRI", "H 8 * * *"), 11, "schedules.0.cron", "'H'", ""),
        (changed("Europe/Berlin", "CEST"), 11, "schedules.0.timezone", "Europe/Berlin", ""),
        (changed(CRON, "interval: 30"), 11, "schedules.0.interval", "30 is", ""),
        (changed(CRON, "interval: 500ms"), 11, "schedules.0.interval", "whole seconds", ""),
        (
            changed(CRON, "rrule: FREQ=SECONDLY"),
            11,
            "schedules.0.rrule",
            "once an hour",
            "",
        ),
        (changed(CRON, "rrule: DAILY"), 11, "schedules.0.rrule", "RFC", ""),
        (changed("senders: 1", "senders: 65"), 12, "delivery.senders", "64", ""),
        (changed("senders: 1", "senders: true"), 12, "delivery.senders", "integer", ""),
        (
            changed("senders: 1", 'quiet_hours: "21:00"'),
            12,
            "delivery.quiet_hours",
            "HH:MM-HH:MM",
            "",
        ),
        (changed("senders: 1", 'local_time: "9"'), 12, "delivery.local_time", "HH:MM", ""),
        (
            changed("senders: 1", 'quiet_hours: "21:00-08:00", local_time: "07:30"'),
            12,
            "delivery",
            "local_time 07:30 lies in quiet_hours",
            "",
        ),
        (changed("6h", "6"), 12, "delivery.deadline", "not a duration", ""),
        (changed("6h", "0h"), 12, "delivery.deadline", "more than nothing", ""),
        (
            changed("per_second: 200", "per_domain: no"),
            13,
            "throttle.per_domain",
            "valid number",
            "",
        ),
        (changed("second: 200", "second: true"), 13, "throttle.per_second", "not a number", ""),
        (changed("second: 200", "second: 0"), 13, "throttle.per_second", "greater than 0", ""),
        (changed("max: 1h", "max: 1s"), 14, "retry", "longer than max", ""),
        (changed("data@example.com", "data"), 15, "owner.email", "not a mailbox", ""),
        (changed("[dev, prod]", "[Dev]"), 16, "environments.0", "pattern", ""),
        (SMS + "headers: {X-A: b}\n", 8, "headers", "an SMS has no headers", ""),
        (SMS + "attachments: [a.txt]\n", 8, "attachments", "an SMS has no attachments", ""),
        (changed('"ACME"', '"TOO LONG A NAME"', SMS), 7, "from", "not a sender id", ""),
        (changed('"ACME"', "12345", SMS), 7, "from", "number", '"12345"'),
        ("- a\n- b\n", 1, "", "not a campaign", "docs/campaign-file.md"),
        ("", 0, "", "not a campaign", "docs/campaign-file.md"),
        ("name: a\nname: b\n", 2, "name", "stands twice", ""),
        ("name: [\n", 2, "", "", ""),
        (WHOLE + "<<: {a: 1}\n", 17, "<<", "merge keys", ""),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_by_line_field_and_mend(
    text: str, line: int, field: str, words: str, mend: str
) -> None:
    """One message with the place; never a traceback, never silence."""
    with pytest.raises(CampaignFileError) as caught:
        read(text)
    error = caught.value
    assert (error.line, error.field) == (line, field)
    assert words in error.message
    assert mend in error.mend
    assert str(error).startswith(f"c.yaml:{line}: " if line else "c.yaml: ")


def test_all_problems_are_told_at_once() -> None:
    """Whoever mends a file wants to do it in one go."""
    with pytest.raises(CampaignFileError) as caught:
        read(changed("acme-mail", "Acme", changed("6h", "6", changed("second: 200", "second: 0"))))
    assert caught.value.line == 6
    assert "line 12: delivery.deadline" in caught.value.mend
    assert "line 13: throttle.per_second" in caught.value.mend


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Missing, and a folder."""
    with pytest.raises(CampaignFileError, match="does not exist"):
        load_campaign_file(tmp_path / "none.yaml")
    with pytest.raises(CampaignFileError, match="directory"):
        load_campaign_file(tmp_path)
