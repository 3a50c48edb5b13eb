"""The envelope sender that says which message comes back."""

from __future__ import annotations

import pickle
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from blocks import SmtpServer
from ignition_ext.errors import ConfigurationError
from ignition_ext.returns.mail_match import read_tokens
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer
from ignition_ext.templates.bounce_address import (
    LOCAL_LENGTH,
    PURPOSE,
    TOKEN_LENGTH,
    BounceAddress,
)
from ignition_ext.templates.email_maker import EmailRecipe
from ignition_ext.templates.press_worker import made
from ignition_ext.templates.rendering.sources import TemplateSources
from ignition_ext.values import MessageId, new_id

SIGNER, FOREIGN = (Signer.of(PURPOSE, Settings(signing_key=SecretStr(sign * 32))) for sign in "ab")
ADDRESS = BounceAddress("bounces", "mail.example.com", SIGNER)
CASES = st.sampled_from([str, str.upper, str.lower, str.title])


@given(st.uuids(), CASES, st.lists(st.emails(), max_size=3))
def test_a_sender_names_its_message(key: UUID, case: object, others: list[str]) -> None:
    """In whatever case it comes back, among whatever other addresses; within a local part."""
    sender = ADDRESS.sender(MessageId(key))
    assert callable(case)

    assert read_tokens([*others, case(sender)], SIGNER) == (key, "")
    assert len(sender.partition("@")[0]) <= LOCAL_LENGTH


@given(st.uuids(), st.integers(0, TOKEN_LENGTH - 1), st.sampled_from("abcdefghijklmnop234567"))
def test_a_changed_sender_names_nothing(key: UUID, place: int, sign: str) -> None:
    """And is told, because it was meant for us."""
    sender = ADDRESS.sender(MessageId(key))
    place += len("bounces+")
    changed = f"{sender[:place]}{sign}{sender[place + 1 :]}"

    expected = (key, "") if changed == sender else (None, changed)
    assert read_tokens([changed], SIGNER) == expected


def test_another_installations_sender_names_nothing() -> None:
    """Nor do addresses without a token."""
    foreign = replace(ADDRESS, signer=FOREIGN)
    sender = foreign.sender(MessageId(new_id()))

    assert read_tokens(["bounces@mail.example.com", "a+b@example.com"], SIGNER) == (None, "")
    assert read_tokens([sender], SIGNER) == (None, sender)


@pytest.mark.parametrize("address", ["", "bounces", "@example.com", f"{'b' * 22}@example.com"])
def test_an_address_needs_room_for_a_token(address: str) -> None:
    """The mend says how much."""
    with pytest.raises(ConfigurationError, match="address of bounces"):
        BounceAddress.of(address)


def test_the_block_takes_what_has_room() -> None:
    """Its own limit is the token's; blocks do not import what makes tokens."""
    longest = "b" * (LOCAL_LENGTH - 1 - TOKEN_LENGTH)
    fitting = SmtpServer(host="mx.example.com", bounce_address=f"{longest}@mail.example.com")

    assert BounceAddress.of(str(fitting.bounce_address)).local == longest
    for address in (f"b{longest}@mail.example.com", "bücher@example.com", "b@bücher.example"):
        with pytest.raises(ValidationError, match="room for a token"):
            SmtpServer(host="mx.example.com", bounce_address=address)
    with pytest.raises(ValidationError, match="bare address"):
        SmtpServer(host="mx.example.com", bounce_address="Bounces <b@example.com>")


@pytest.mark.parametrize("bounces", [ADDRESS, None])
def test_each_email_has_its_own_sender(bounces: BounceAddress | None) -> None:
    """Also where another process makes it; without a bounce address all have the same."""
    recipe = EmailRecipe(
        sources=TemplateSources(
            name="t", version=1, files={"t/subject.txt": "Hello", "t/body.txt": "Hello.\n"}
        ),
        locale="en",
        timezone="UTC",
        globals={},
        sender="Acme <news@example.com>",
        headers={},
        attachments=[],
        inline=[],
        envelope_from="fixed@example.com",
        bounces=bounces,
    )
    key = MessageId(new_id())
    far = pickle.loads(pickle.dumps(recipe))

    here = recipe.maker().make(key, "jo@example.org", None, None, {})
    there = made(far.maker(), (key.bytes, "jo@example.org", None, None, "{}"))

    wanted = "fixed@example.com" if bounces is None else bounces.sender(key)
    assert here.envelope_from == wanted
    assert isinstance(there, tuple)
    assert there[0] == wanted
