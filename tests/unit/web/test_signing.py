"""Tokens: read by whoever has the key, for the one purpose they were made for, unchanged."""

from __future__ import annotations

import base64
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext import signing
from ignition_ext.errors import ConfigurationError, TokenError
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer, lowered, read_short_token, read_token, short_token, token

KEY = "k" * 32
SIGNER = Signer.of("links", Settings(signing_key=KEY))
OTHER = Signer.of("pixels", Settings(signing_key=KEY))


def seal_lowered(signer: Signer, payload: bytes) -> str:
    return lowered(signer.sealed(payload))


FORMS = pytest.mark.parametrize(
    ("make", "read"),
    [
        (Signer.token, Signer.read_token),
        (Signer.short_token, Signer.read_short_token),
        (Signer.sealed, Signer.opened),
        (seal_lowered, Signer.opened_lowered),
    ],
    ids=["long", "short", "sealed", "lowered"],
)


@FORMS
@given(payload=st.binary(min_size=1, max_size=60))
def test_a_token_gives_its_payload_back(make, read, payload) -> None:
    """Whatever was signed comes back, byte for byte."""
    assert read(SIGNER, make(SIGNER, payload)) == payload


@given(payload=st.binary(min_size=1, max_size=60))
def test_tokens_are_written_in_the_alphabets_that_they_promise(payload) -> None:
    """Links need no escaping, and local parts are letters and digits in lower case."""
    assert re.fullmatch(r"[A-Za-z0-9_-]+", SIGNER.token(payload))
    assert re.fullmatch(r"[a-z2-7]+", SIGNER.short_token(payload))


@given(
    payload=st.binary(min_size=1, max_size=30),
    pattern=st.lists(st.booleans(), min_size=64, max_size=64),
)
def test_a_short_token_survives_any_case(payload, pattern) -> None:
    """Mail servers may change the case of a local part."""
    written = SIGNER.short_token(payload)
    mixed = "".join(c.upper() if up else c for c, up in zip(written, pattern * 2, strict=False))

    assert SIGNER.read_short_token(mixed) == payload
    assert SIGNER.opened_lowered(seal_lowered(SIGNER, payload).upper()) == payload


@FORMS
@given(payload=st.binary(min_size=1, max_size=40), data=st.data())
def test_a_changed_token_is_refused(make, read, payload, data) -> None:
    """Any one character replaced by any other makes it worthless, the last one too."""
    written = make(SIGNER, payload)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    if make not in (Signer.short_token, seal_lowered):
        alphabet += "ABCDEFGHIJKLMNOPQRSTUVWXYZ0189-_+/="
    place = data.draw(st.integers(0, len(written) - 1))
    other = data.draw(st.sampled_from(sorted(set(alphabet) - {written[place]})))

    with pytest.raises(TokenError):
        read(SIGNER, written[:place] + other + written[place + 1 :])


@FORMS
@given(payload=st.binary(min_size=1, max_size=40), data=st.data())
def test_a_token_cut_short_or_made_longer_is_refused(make, read, payload, data) -> None:
    """Mail programs break links: what is left of one is none."""
    written = make(SIGNER, payload)
    kept = data.draw(st.integers(0, len(written) - 1))
    more = data.draw(st.text("ab2=\n ", min_size=1, max_size=9))

    for wrong in (written[:kept], written[len(written) - kept :], written + more):
        with pytest.raises(TokenError):
            read(SIGNER, wrong)


@FORMS
@given(payload=st.binary(min_size=1, max_size=40))
def test_a_token_for_another_purpose_is_refused(make, read, payload) -> None:
    """A pixel's token does not unsubscribe anybody."""
    with pytest.raises(TokenError):
        read(SIGNER, make(OTHER, payload))


@given(payload=st.binary(min_size=1, max_size=40))
def test_the_forms_are_not_exchangeable(payload) -> None:
    """The shorter code of the one says nothing about the other."""
    with pytest.raises(TokenError):
        SIGNER.read_token(SIGNER.short_token(payload))
    with pytest.raises(TokenError):
        SIGNER.read_short_token(SIGNER.token(payload))
    with pytest.raises(TokenError):
        SIGNER.read_token(SIGNER.sealed(payload))
    with pytest.raises(TokenError):
        SIGNER.opened(SIGNER.token(payload))


@given(payload=st.binary(min_size=8, max_size=60))
def test_a_sealed_token_shows_nothing_of_its_payload(payload) -> None:
    """An address in a link is for us alone."""
    raw = base64.urlsafe_b64decode(SIGNER.sealed(payload) + "==")

    assert payload not in raw


@FORMS
@given(text=st.text(max_size=80))
def test_any_text_is_refused_in_words(make, read, text) -> None:
    """What strangers send is refused, never an error of another kind, and never repeated."""
    with pytest.raises(TokenError) as refused:
        read(SIGNER, text)

    assert str(refused.value) == str(signing._refused())


def test_an_overlong_token_is_refused() -> None:
    """Nobody makes the server decode megabytes."""
    with pytest.raises(TokenError):
        SIGNER.read_token("A" * (signing.TOKEN_LIMIT + 1))


@FORMS
def test_earlier_keys_are_read_and_not_signed_with(make, read) -> None:
    """After a rotation old links work, and new ones need the new key alone."""
    old = Signer.of("links", Settings(signing_key="a" * 32))
    new = Signer.of("links", Settings(signing_key="b" * 32))
    rotated = Signer.of(
        "links", Settings(signing_key="b" * 32, signing_keys_old=f"{'a' * 32}, {'c' * 40}")
    )

    assert read(rotated, make(old, b"1")) == b"1"
    assert make(rotated, b"1") == make(new, b"1")
    with pytest.raises(TokenError):
        read(new, make(old, b"1"))


@pytest.mark.parametrize("settings", [{"signing_key": "short"}, {"signing_keys_old": "short"}])
def test_a_short_key_is_refused(settings) -> None:
    """A key that can be guessed is worse than none; the message does not repeat it."""
    with pytest.raises(ConfigurationError, match="fewer than 32") as refused:
        token("links", b"", settings=Settings(**settings))

    assert "short" not in str(refused.value)


def test_the_key_is_made_once_and_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting a node makes its key and keeps it; the file's text works as setting."""
    first = token("links", b"1"), short_token("links", b"1")

    path = signing.key_path()
    assert (token("links", b"1"), short_token("links", b"1")) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setenv("IGNITION_SIGNING_KEY", path.read_text())
    path.unlink()
    assert read_token("links", first[0]) == b"1"
    assert read_short_token("links", first[1]) == b"1"


def test_a_key_that_cannot_be_made_or_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the file and the setting that mends it."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="IGNITION_SIGNING_KEY"):
        token("links", b"1")

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    signing.key_path().write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        token("links", b"1")
