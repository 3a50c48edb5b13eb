"""Standard Webhooks, judged by its own library; secrets at rest; the schedule of attempts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ignition_ext.errors import ConfigurationError
from ignition_ext.outcomes.outbox import EventName
from ignition_ext.outcomes.patterns import checked_patterns, matches
from ignition_ext.outcomes.retries import (
    DELAYS,
    JITTER,
    LONGEST_ASKED,
    LONGEST_PAUSE,
    asked_pause,
    next_attempt,
    pause,
)
from ignition_ext.outcomes.sealing import seal, unseal
from ignition_ext.outcomes.signature import headers, new_secret, webhook_id
from ignition_ext.settings import Settings

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY, OTHER_KEY = "k" * 40, "o" * 40


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_a_receiver_believes_both_secrets_while_one_is_replaced(
    document: dict[str, str | int],
) -> None:
    """With either the body is accepted; a changed one or another secret is not."""
    new, old, key = new_secret(), new_secret(), uuid4()
    content = json.dumps(document).encode()
    sent = headers(delivery_id=key, at=datetime.now(UTC), content=content, secrets=[new, old])

    for secret in (new, old):
        assert Webhook(secret).verify(content, sent) == document
    assert sent["webhook-id"] == webhook_id(key)
    for secret, body in ((new_secret(), content), (new, content + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, sent)


@given(st.text())
def test_secrets_at_rest_open_with_the_key_alone(secret: str) -> None:
    """An earlier key does too; another one, or another webhook's id, does not."""
    key = uuid4()
    before = Settings(signing_key=SecretStr(KEY))
    after = Settings(signing_key=SecretStr(OTHER_KEY), signing_keys_old=SecretStr(KEY))
    stranger = Settings(signing_key=SecretStr(OTHER_KEY))
    stored = seal(secret, key, before)

    assert unseal(stored, key, before) == unseal(stored, key, after) == secret
    assert len(secret) < 10 or secret not in stored
    for endpoint, settings in ((key, stranger), (uuid4(), before)):
        with pytest.raises(ConfigurationError, match="signing key"):
            unseal(stored, endpoint, settings)


def test_attempts_follow_the_schedule_and_end() -> None:
    """Ten in all, each delay up to a fifth longer."""
    times = [next_attempt(attempts, NOW, lambda: 1.0) for attempts in range(1, 11)]
    assert times[:9] == [NOW + delay * (1 + JITTER) for delay in DELAYS]
    assert times[9] is None
    assert sum(DELAYS, timedelta()) > timedelta(days=3)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_webhook_that_fails_is_asked_every_few_minutes(failures: int, chance: float) -> None:
    """It is left alone a little at first, and never for long."""
    waits = pause(failures, NOW, lambda: chance) - NOW
    assert DELAYS[0] <= waits <= LONGEST_PAUSE * (1 + JITTER)


@pytest.mark.parametrize(
    ("header", "until"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("0", NOW),
        ("120", NOW + timedelta(minutes=2)),
        ("9" * 400, NOW + LONGEST_ASKED),
        (format_datetime(NOW + timedelta(hours=1), usegmt=True), NOW + timedelta(hours=1)),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), NOW),
        ("Sat, 21 Nov 2099 12:00:00 GMT", NOW + LONGEST_ASKED),
        ("Sat, 21 Nov 2026 12:30:00 -0000", NOW + timedelta(minutes=30)),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, until: datetime | None) -> None:
    """What is neither is passed over, and nobody asks for more than a day."""
    assert asked_pause(header, NOW) == until


@given(st.text())
def test_any_retry_after_can_be_read(header: str) -> None:
    """It is a stranger's text."""
    until = asked_pause(header, NOW)
    assert until is None or NOW <= until <= NOW + LONGEST_ASKED


def test_patterns_are_names_or_beginnings() -> None:
    """A star stands at the end alone; a misspelt name is refused."""
    assert matches(["ignition.message.*"], EventName.MESSAGE_SENT)
    assert matches(["*"], EventName.BUDGET_EXHAUSTED)
    assert not matches(["ignition.message.sent"], EventName.MESSAGE_FAILED)
    assert not matches([], EventName.MESSAGE_SENT)
    assert checked_patterns([]) == ["*"]
    assert checked_patterns(["ignition.sms.*", "ignition.sms.*"]) == ["ignition.sms.*"]
    for wrong in ("ignition.mesage.sent", "*.sent", "", "ignition.x*"):
        with pytest.raises(ConfigurationError, match="no outcome"):
            checked_patterns([wrong])
