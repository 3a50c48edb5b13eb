"""What every answer has in common: headers, limits, languages, health."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from ignition_ext.web import desk
from ignition_ext.web.guard import MOST_OCTETS


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """Nothing is written here: one engine will do."""
    return sqlite_database_url


async def test_every_answer_keeps_others_out(site: Any) -> None:
    """No script, no frame, no index, no referrer, nothing stored; errors too."""
    paths = (f"/u/{site.token()}", f"/p/{site.token()}", "/u/x", "/nothing", "/health/live")
    for path in paths:
        headers = (await site.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert headers["x-content-type-options"] == "nosniff"
    assert (await site.get("/robots.txt")).text == "User-agent: *\nDisallow: /\n"


async def test_a_page_needs_nothing_from_elsewhere(site: Any) -> None:
    """One style sheet of its own, by a relative address, right behind any proxy."""
    shown = (await site.get(f"/u/{site.token()}")).text

    assert "<script" not in shown
    assert "http://" not in shown
    assert "https://" not in shown
    assert 'href="../static/style.css"' in shown
    style = await site.get("/static/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert style.headers["cache-control"] == "public, max-age=86400"


async def test_a_large_request_is_refused(site: Any) -> None:
    """Whether it says its length or not."""

    async def pieces() -> Any:
        for _ in range(20):
            yield b"a" * 1024

    path = f"/u/{site.token()}"
    declared = await site.client.post(path, content=b"a" * (MOST_OCTETS + 1))
    streamed = await site.client.post(path, content=pieces())

    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert "content-security-policy" in declared.headers
    assert await site.suppressed() == []


@pytest.fixture
def three_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link has three uses, and none comes back while a test lasts."""
    monkeypatch.setattr(desk, "PAGES_AT_ONCE", 3)
    monkeypatch.setattr(desk, "PAGES_PER_SECOND", 1e-6)


async def test_a_link_that_is_used_all_the_time_has_to_wait(three_at_once: None, site: Any) -> None:
    """Others go on."""
    path = f"/u/{site.token()}"
    answers = [await site.get(path) for _ in range(4)]
    site.message_id = type(site.message_id)(int=site.message_id.int + 1)

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "Please try again" in answers[-1].text
    assert (await site.get(f"/u/{site.token()}")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "accepted", "tag", "direction"),
    [
        ("", "de-AT,de;q=0.9,en;q=0.8", "de", "ltr"),
        ("", "xx, ar;q=0.5", "ar", "rtl"),
        ("?lang=he", "de", "he", "rtl"),
        ("?lang=<b>", "tr", "tr", "ltr"),
        ("", "", "en", "ltr"),
        ("", "pt-PT", "pt-BR", "ltr"),
        ("", ";q=,,;;*;q=0,zh-TW;q=x, ko", "ko", "ltr"),
    ],
)
async def test_a_page_speaks_its_readers_language(
    site: Any, asked: str, accepted: str, tag: str, direction: str
) -> None:
    """What was chosen on the page, else what the browser says, else the tenant's."""
    answer = await site.get(f"/u/{site.token()}{asked}", **{"accept-language": accepted})

    assert f'<html lang="{tag}" dir="{direction}">' in answer.text
    assert answer.headers["content-language"] == tag
    assert answer.headers["vary"] == "accept-language"


async def test_health_says_whether_it_serves(site: Any) -> None:
    """For a load balancer, without the Prefect server."""
    assert (await site.get("/health/live")).status_code == 200
    assert (await site.get("/health/ready")).json()["status"] == "ok"


async def test_without_the_database_it_says_so(site: Any) -> None:
    """A page that asks to come back, and no word of what is broken; links still lead on."""
    await site.database.close()
    for table in ("tenant", "suppression"):
        async with site.database.engine.begin() as connection:
            await connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO gone_{table}")
    target = site.links.click_url(site.message_id, "https://shop.example/", is_personal=False)

    shown = await site.get(f"/u/{site.token()}")
    posted = await site.client.post(f"/u/{site.token()}", data={"List-Unsubscribe": "One-Click"})
    led = await site.get(target.removeprefix(site.url))

    assert (shown.status_code, posted.status_code, led.status_code) == (503, 503, 302)
    assert shown.headers["retry-after"] == "60"
    assert "Please try again in a moment" in shown.text
    assert "tenant" not in shown.text


def test_the_command_serves_and_stops(tmp_path: Path, sqlite_database_url: str) -> None:
    """`ignition web` on a free port, with a path that the proxy leaves in place, until SIGTERM."""
    environment = {name: value for name, value in os.environ.items() if "IGNITION" not in name}
    environment |= {
        "IGNITION_DATABASE_URL": sqlite_database_url,
        "IGNITION_WEB_URL": "https://example.com/mail",
        "PREFECT_HOME": str(tmp_path),
    }
    program = "from ignition_ext.cli import main; main()"
    command = [sys.executable, "-c", program, "web", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            url = next(filter(None, (re.search(r"http://\S+", line) for line in lines)))[0]
            answers = [
                httpx.get(f"{url}{path}", timeout=60)
                for path in ("/mail/health/ready", "/health/ready", "/mail/u/x")
            ]
        finally:
            process.terminate()
            rest = process.stderr.read() if process.stderr else ""
        process.wait(60)

    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert "server" not in answers[0].headers
    assert "Application shutdown complete" in rest
    assert "/u/x" not in rest
