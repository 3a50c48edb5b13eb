"""Between two batches a run needs Prefect for its block and its waits, and goes on without it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from blocks import SmtpServer
from tasks import await_due as waits
from tasks import load_channel as loads


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flow run to log for, and nothing loaded before."""
    for module in (waits, loads):
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger(__name__))
    monkeypatch.setattr(loads, "_known", {})


async def refuses(*_: Any) -> Any:
    raise httpx.ConnectError("all connection attempts failed")


async def says_nothing(*_: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize("away", [refuses, says_nothing])
async def test_the_block_of_the_batch_before_is_used(
    monkeypatch: pytest.MonkeyPatch, away: Any
) -> None:
    """As soon as the server answers, the new one is."""
    monkeypatch.setattr(loads, "ANSWER_SECONDS", 0.05)
    first, later = (SmtpServer(host=host) for host in ("old.example.com", "new.example.com"))
    answers = iter([first, away, later])

    async def load(*words: Any) -> Any:
        answer = next(answers)
        return await answer(*words) if callable(answer) else answer

    monkeypatch.setattr(loads, "load_block", load)

    found = [await loads.load_smtp_server("mail") for _ in range(3)]

    assert found == [first, first, later]


async def test_a_block_that_was_never_read_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to send through."""
    monkeypatch.setattr(loads, "load_block", refuses)

    with pytest.raises(httpx.ConnectError):
        await loads.load_smtp_server("mail")


async def test_a_long_wait_is_waited_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's slot is not given back, and the run does not fail."""
    watched: list[Any] = []

    async def left(*_: Any) -> timedelta:
        return timedelta(minutes=5)

    async def watch(_run: Any, _state: Any, until: Any) -> None:
        watched.append(until)

    monkeypatch.setattr(waits, "_await_soon", left)
    monkeypatch.setattr(waits, "_come_back", refuses)
    monkeypatch.setattr(waits, "_reason", lambda _batch: "")
    monkeypatch.setattr(waits, "_watch", watch)
    flow_run = SimpleNamespace(deployment_id=uuid4())
    monkeypatch.setattr(waits, "current_flow_run", lambda: flow_run)
    anything: Any = SimpleNamespace(run_state=None)

    await waits.await_due(anything, anything, anything)

    assert len(watched) == 1
