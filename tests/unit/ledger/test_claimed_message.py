"""What a claim hands out: columns that stay JSON until they are read."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Channel, MessageId, new_id

COLUMNS = {"first_name": "Zoë", "points": 7, "tags": ["a", "b"], "none": None}
KEY = MessageId(new_id())


def claimed(data: Any, attempts: int = 0) -> ClaimedMessage:
    return ClaimedMessage(
        id=KEY,
        channel=Channel.EMAIL,
        address="zoe@x.example",
        domain="x.example",
        locale="de-DE",
        timezone=None,
        attempts=attempts,
        data=data,
    )


@pytest.mark.parametrize("given", [COLUMNS, json.dumps(COLUMNS)], ids=["columns", "json"])
def test_columns_and_their_json_are_both_to_be_had(given: Any) -> None:
    """Whichever of the two the message was made of."""
    message = claimed(given)

    assert message.data == COLUMNS
    assert message.data is message.data
    assert json.loads(message.document) == COLUMNS


def test_json_is_handed_on_as_it_came() -> None:
    """Who does not ask for the columns never reads them: not even text that is no JSON hurts."""
    assert claimed('{"a" :1}').document == '{"a" :1}'
    assert claimed("{").document == "{"
    with pytest.raises(ValueError, match="Expecting"):
        _ = claimed("{").data


def test_messages_are_equal_by_what_they_say() -> None:
    """Not by how they were made, and not by what was read of them already."""
    assert claimed(COLUMNS) == claimed(json.dumps(COLUMNS, indent=1))
    assert claimed(COLUMNS) != claimed({**COLUMNS, "points": 8})
    assert claimed(COLUMNS) != claimed(COLUMNS, attempts=1)
    assert claimed(COLUMNS) != KEY


@pytest.mark.parametrize("given", [COLUMNS, json.dumps(COLUMNS)], ids=["columns", "json"])
def test_messages_can_be_copied_and_sent_to_another_process(given: Any) -> None:
    """With all that they say."""
    message = claimed(given)

    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message
    assert "zoe@x.example" in repr(message)
