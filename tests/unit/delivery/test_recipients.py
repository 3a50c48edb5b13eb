from collections.abc import AsyncIterator, Sequence

import pytest

from ignition_ext.delivery.recipients import Intake, message_for, messages_of
from ignition_ext.values import Channel, Recipient


async def audience(*batches: Sequence[Recipient]) -> AsyncIterator[Sequence[Recipient]]:
    for batch in batches:
        yield batch


def person(number: int, *, phone: str | None = None) -> Recipient:
    return Recipient(email=f"p{number}@example.com", phone=phone, data={"n": number})


async def test_a_limit_ends_the_audience_within_a_batch() -> None:
    """A trial of three writes three messages, and reads no further batch."""
    intake = Intake()
    source = audience([person(1), person(2)], [person(3), person(4)], [person(5)])
    taken = [batch async for batch in messages_of(source, Channel.EMAIL, intake, limit=3)]

    assert [len(batch) for batch in taken] == [2, 1]
    assert (intake.taken, intake.skipped) == (3, 0)


async def test_recipients_without_the_channels_address_are_counted_and_skipped() -> None:
    """They neither stop the run nor vanish."""
    intake = Intake()
    source = audience([person(1), person(2, phone="+491701234567")])
    taken = [batch async for batch in messages_of(source, Channel.SMS, intake)]

    assert [[message.address for message in batch] for batch in taken] == [["+491701234567"]]
    assert (intake.taken, intake.skipped) == (1, 1)


@pytest.mark.parametrize(
    ("channel", "domain"), [(Channel.EMAIL, "example.com"), (Channel.SMS, "49")]
)
def test_a_message_knows_the_domain_or_country_it_goes_to(channel: Channel, domain: str) -> None:
    """Throttles and reports group by it."""
    message = message_for(person(1, phone="+491701234567"), channel)

    assert message is not None
    assert message.domain == domain
    assert message.data == {"n": 1}
