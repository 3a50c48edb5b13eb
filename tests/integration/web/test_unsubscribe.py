"""Unsubscribing: at once for mailbox providers, by a button for people, never by a GET."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ignition_ext.consent import SuppressionReason, suppress
from ignition_ext.outcomes.outbox import EventName
from ignition_ext.values import Channel

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
OPTED_OUT = [("email", "ada@example.com", "opt_out")]


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_a_provider_unsubscribes_with_one_post(site: Any, kind: str) -> None:
    """As RFC 8058 shows it, in either form, without cookies; the answer is no redirect."""
    path = f"/u/{site.token()}"
    if kind == "urlencoded":
        answer = await site.client.post(path, data=ONE_CLICK)
    else:
        answer = await site.client.post(
            path, files={name: (None, value) for name, value in ONE_CLICK.items()}
        )

    assert (answer.status_code, answer.text) == (200, "Unsubscribed.\n")
    assert "set-cookie" not in answer.headers
    assert await site.suppressed() == OPTED_OUT
    ((name, payload),) = await site.announced()
    assert name == EventName.RECIPIENT_OPTED_OUT
    assert payload == {
        "message_id": str(site.message_id),
        "channel": "email",
        "by": "web",
        "address": "ada@example.com",
    }
    assert await site.audited() == ["suppression.added"]


async def test_two_clicks_do_it_once(site: Any) -> None:
    """Also at the same moment, and after the button."""
    path = f"/u/{site.token()}"

    answers = await asyncio.gather(*(site.client.post(path, data=ONE_CLICK) for _ in range(6)))
    answers.append(await site.post(path, action="unsubscribe"))

    assert [answer.status_code for answer in answers] == [200] * 6 + [303]
    assert await site.suppressed() == OPTED_OUT
    assert len(await site.announced()) == 1
    assert await site.audited() == ["suppression.added"]


async def test_scanners_change_nothing(site: Any) -> None:
    """GET and HEAD of all that a message links to, with whatever query."""
    token = site.token()
    for path in (f"/u/{token}", f"/p/{token}", f"/u/{token}?List-Unsubscribe=One-Click&action=x"):
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
            answer = await site.client.request(method, path)
            assert answer.status_code == (200 if method in ("GET", "HEAD") else 405)

    assert await site.suppressed() == []
    assert await site.announced() == []
    assert await site.audited() == []


async def test_the_button_leads_to_a_page_that_says_so_and_back(site: Any) -> None:
    """Post, redirect, get: reloading sends nothing again; a mistake is mended there."""
    path = f"/u/{site.token()}"
    asked = await site.get(path)
    done = await site.client.post(path, data={"action": "unsubscribe"}, follow_redirects=True)
    back = await site.client.post(path, data={"action": "return"}, follow_redirects=True)

    assert "Do you want no more messages" in asked.text
    assert "Acme &amp; Söhne" in asked.text
    assert "a…@example.com" in asked.text
    assert "ada@example.com" not in asked.text
    assert done.request.method == "GET"
    assert "You are unsubscribed" in done.text
    assert "Do you want no more messages" in back.text
    assert await site.suppressed() == []
    assert [name for name, _ in await site.announced()] == [
        EventName.RECIPIENT_OPTED_OUT,
        EventName.RECIPIENT_OPTED_IN,
    ]
    assert await site.audited() == ["suppression.added", "suppression.removed"]


async def test_nobody_comes_back_from_a_bounce(site: Any) -> None:
    """A mailbox that bounced is not switched on by its link."""
    async with site.database.write() as session:
        await suppress(
            session,
            tenant_id=site.tenant_id,
            channel=Channel.EMAIL,
            addresses=["ada@example.com"],
            reason=SuppressionReason.BOUNCE,
            detail="",
            actor="test",
        )
    path = f"/u/{site.token()}"
    shown = await site.get(path)
    await site.post(path, action="return")

    assert "Subscribe again" not in shown.text
    assert await site.suppressed() == [("email", "ada@example.com", "bounce")]
    assert await site.announced() == []


async def test_a_number_is_unsubscribed_from_texts(site: Any) -> None:
    """The link in an SMS is about the number."""
    await site.post(f"/u/{site.token('+4915123456001', Channel.SMS)}", action="unsubscribe")

    assert await site.suppressed() == [("sms", "+4915123456001", "opt_out")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_tampered_link_is_refused(site: Any, method: str) -> None:
    """Changed, cut, of another purpose, or no link at all: 404, the same words, no address."""
    token = site.token()
    changed = token[:20] + ("A" if token[20] != "A" else "B") + token[21:]
    pixel = site.links.pixel_url(site.message_id).rpartition("/")[2].removesuffix(".gif")
    texts = set()
    for wrong in (changed, token[:-4], token + "AAAA", pixel, "x", "%00", "ä", "A" * 9000):
        for page in ("u", "p"):
            answer = await site.client.request(method, f"/{page}/{wrong}", data=ONE_CLICK)
            assert answer.status_code == 404
            texts.add(answer.text)

    assert len(texts) == 1
    assert method == "HEAD" or "This link does not work" in texts.pop()
    assert await site.suppressed() == []


@pytest.mark.parametrize(
    "body", [b"", b"x=1", b"action=destroy", b"List-Unsubscribe=Two-Click", b"\xff", b"a&" * 300]
)
async def test_a_post_that_says_nothing_changes_nothing(site: Any, body: bytes) -> None:
    """Whatever is posted, only the two known requests do something."""
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a/b"):
        answer = await site.client.post(
            f"/u/{site.token()}", content=body, headers={"content-type": kind}
        )
        assert answer.status_code == 400

    assert await site.suppressed() == []


async def test_a_link_works_when_all_rows_of_its_run_are_gone(site: Any) -> None:
    """There never were any here: the link says itself whom it is about."""
    answer = await site.post(f"/u/{site.token('böb@bücher.example')}", **ONE_CLICK)

    assert answer.status_code == 200
    assert [channel for channel, _, _ in await site.suppressed()] == ["email"]


async def test_an_unknown_tenant_is_no_secret_and_no_error(site: Any) -> None:
    """A link of a database that is not here any more."""
    site.tenant_id += 1
    answer = await site.get(f"/u/{site.token()}")

    assert answer.status_code == 404
