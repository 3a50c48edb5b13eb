"""Opens and clicks: noted in batches, led only to where the message led, machines told apart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from ignition_ext.database import Database
from ignition_ext.models import (
    Campaign,
    CampaignRun,
    Message,
    OutboxEvent,
    TrackedUrl,
    TrackingEvent,
)
from ignition_ext.models.types import utc_now
from ignition_ext.outcomes.outbox import EventName
from ignition_ext.values import new_id
from ignition_ext.web import recording
from ignition_ext.web.agents import Agent
from ignition_ext.web.recording import Note, Recorder

TARGET = "https://shop.example/ü?a=1&b=2"
PHONE = {"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"}
GMAIL = {"user-agent": "Mozilla/5.0 (Windows NT 5.1) Firefox/11.0 (via ggpht.com GoogleImageProxy)"}


def path_of(site: Any, url: str) -> str:
    return url.removeprefix(site.url)


async def noted(site: Any, count: int) -> list[TrackingEvent]:
    """What was written, as soon as it is as much."""
    async with asyncio.timeout(60):
        while True:
            rows = await site.rows(select(TrackingEvent).order_by(TrackingEvent.id))
            if len(rows) >= count:
                return list(rows)
            await asyncio.sleep(0.05)


async def told(site: Any) -> list[tuple[str, Any]]:
    rows = await site.rows(select(OutboxEvent).order_by(OutboxEvent.id))
    return [(row.name, row.payload.get("url")) for row in rows]


async def test_a_click_leads_on_and_is_noted(site: Any) -> None:
    """Twice by a person is two clicks, of which one is told; the URL is kept once."""
    path = path_of(site, site.links.click_url(site.message_id, TARGET, is_personal=False))
    answers = [await site.get(path, **PHONE) for _ in range(2)]
    opens = await site.get(path_of(site, site.links.pixel_url(site.message_id)), **GMAIL)

    assert [answer.status_code for answer in answers] == [302, 302]
    assert answers[0].headers["location"] == "https://shop.example/%C3%BC?a=1&b=2"
    assert answers[0].headers["cache-control"] == "no-store"
    assert (opens.headers["content-type"], opens.content[:6]) == ("image/gif", b"GIF89a")
    rows = await noted(site, 3)
    assert sorted((row.kind, row.agent, row.is_proxy) for row in rows) == [
        ("click", "phone", False),
        ("click", "phone", False),
        ("open", "gmail_proxy", True),
    ]
    assert {row.message_id for row in rows} == {site.message_id}
    (url,) = await site.rows(select(TrackedUrl))
    assert (url.tenant_id, url.url) == (site.tenant_id, TARGET)
    assert await told(site) == [(EventName.EMAIL_CLICKED, TARGET)]


async def test_what_is_told_names_the_campaign(site: Any) -> None:
    """So that Prefect hears of all of a campaign's at once; also of who unsubscribed."""
    now = utc_now()
    async with site.database.write() as session:
        campaign = Campaign(tenant_id=site.tenant_id, name="news")
        session.add(campaign)
        await session.flush()
        run = CampaignRun(
            tenant_id=site.tenant_id, campaign_id=campaign.id, campaign_version=1, run_at=now
        )
        session.add(run)
        await session.flush()
        session.add(
            Message(
                id=site.message_id,
                run_at=now,
                tenant_id=site.tenant_id,
                run_id=run.id,
                channel="email",
                address="ada@example.com",
            )
        )
        run_id = str(run.id)
    await site.get(path_of(site, site.links.pixel_url(site.message_id)), **PHONE)
    await site.post(f"/u/{site.token()}", action="unsubscribe")
    await noted(site, 1)

    rows = await site.rows(select(OutboxEvent))
    assert {row.name for row in rows} == {EventName.EMAIL_OPENED, EventName.RECIPIENT_OPTED_OUT}
    for row in rows:
        assert (row.payload["campaign"], row.payload["run_id"]) == ("acme/news", run_id)


async def test_nobody_makes_a_link_lead_elsewhere(site: Any) -> None:
    """No token of ours, no way on: not with a query, not with a token for another thing."""
    path = path_of(site, site.links.click_url(site.message_id, TARGET, is_personal=False))
    wrong = path[:-1] + ("A" if path[-1] != "A" else "B")
    pixel = path_of(site, site.links.pixel_url(site.message_id))
    for bad in (
        wrong,
        "/c/https://evil.example",
        f"/c/{site.token()}",
        pixel.replace("/o/", "/c/"),
    ):
        answer = await site.get(bad, **PHONE)
        assert answer.status_code == 404
        assert "location" not in answer.headers
    other = await site.get(f"{path}?url=https://evil.example", **PHONE)
    broken = await site.get("/o/x.gif", **PHONE)

    assert other.headers["location"].startswith("https://shop.example/")
    assert (broken.status_code, broken.headers["content-type"]) == (404, "image/gif")


async def test_head_notes_nothing_and_a_link_replayed_little(site: Any) -> None:
    """Links always lead on; the table does not grow by one link."""
    path = path_of(site, site.links.click_url(site.message_id, TARGET, is_personal=True))
    for _ in range(5):
        assert (await site.client.head(path)).status_code == 302
    for _ in range(40):
        assert (await site.get(path, **PHONE)).status_code == 302

    rows = await noted(site, 20)
    assert 20 <= len(rows) < 40
    (url,) = await site.rows(select(TrackedUrl))
    assert url.url == "https://shop.example/ü"


def note(number: int, **changes: Any) -> Note:
    said: dict[str, Any] = {
        "tenant_id": 1,
        "message_id": new_id(),
        "kind": "click",
        "at": utc_now(),
        "agent": Agent.DESKTOP,
        "url": f"https://a.example/{number % 7}",
    }
    said |= changes
    said["kind"] = recording.TrackingKind(said["kind"])
    return Note(**said)


async def written(database: Database) -> int:
    async with database.read() as session:
        return len((await session.exec(select(TrackingEvent.id))).all())


async def test_what_waits_is_written_when_the_process_ends(database: Database) -> None:
    """More than a batch, never started: closing writes all of it, each URL once."""
    recorder = Recorder(database)
    for number in range(recording.BATCH + 10):
        recorder.note(note(number))
    await recorder.close()

    assert await written(database) == recording.BATCH + 10
    assert (recorder.waiting, recorder.lost) == (0, 0)
    async with database.read() as session:
        assert len((await session.exec(select(TrackedUrl.url))).all()) == 7


async def test_a_batch_written_twice_stands_once(database: Database) -> None:
    """As when the answer to a commit was lost: the same notes again change nothing."""
    notes = [note(number) for number in range(20)]
    for _ in range(2):
        recorder = Recorder(database)
        for one in notes:
            recorder.note(one)
        await recorder.close()

    assert await written(database) == 20
    async with database.read() as session:
        assert len((await session.exec(select(OutboxEvent.id))).all()) == 20


async def test_closing_in_the_middle_of_a_batch_writes_each_once(database: Database) -> None:
    """However far the writing has come when the process is told to end."""
    for turns in range(8):
        before = await written(database)
        recorder = Recorder(database)
        recorder.start()
        for number in range(recording.BATCH):
            recorder.note(note(number))
        for _ in range(turns * 5):
            await asyncio.sleep(0)
        await recorder.close()
        assert await written(database) == before + recording.BATCH


async def test_two_processes_write_side_by_side(database: Database) -> None:
    """The same new URLs at the same moment: none waits for the other for ever, none is lost."""
    recorders = [Recorder(database) for _ in range(2)]
    for recorder in recorders:
        for number in range(50):
            recorder.note(note(number))
    await asyncio.gather(*(recorder.close() for recorder in recorders))

    assert await written(database) == 100


async def test_notes_wait_for_the_database_up_to_a_bound(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written stays in memory and is written later; what is more is lost."""
    monkeypatch.setattr(recording, "MOST_WAITING", 30)
    gone = Database(f"sqlite:///{tmp_path}/empty.db")
    recorder = Recorder(gone)
    for number in range(40):
        recorder.note(note(number))
    await recorder.close()  # no tables there
    assert (recorder.waiting, recorder.lost) == (30, 10)

    recorder._database = database
    await recorder.close()
    await gone.close()
    assert await written(database) == 30
