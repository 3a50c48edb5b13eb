"""What we compose says what the standard library's ``EmailMessage`` says, and obeys the RFCs."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import idna
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ignition_ext.errors import ConfigurationError, TemplateError
from ignition_ext.templates.attachments import Attachment
from ignition_ext.templates.mime import EmailComposer
from ignition_ext.templates.mime_headers import HeaderError, normal_address
from ignition_ext.templates.mime_text import TextEncoder, TextError
from ignition_ext.values import MessageId

_ID = MessageId(UUID("01a1fd27-c6b9-7d9d-81f1-eba9c65ddb1a"))
_DATE = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)

# All of Unicode, halves of characters too; what breaks lines and what encodings trip over often.
_ANY = st.one_of(
    st.characters(), st.sampled_from("\r\n\0 .=?_-\té你🎉\u2028\x85\x0b\ud800abc<>\"'&@,;:\\")
)
_VALUE = st.text(_ANY, max_size=120)
_TEXT = st.one_of(st.text(_ANY, max_size=300), st.text(_ANY, max_size=40).map(lambda t: t * 60))
_NAME = st.text(_ANY, min_size=1, max_size=80)


@dataclass(frozen=True)
class Mail:
    subject: str = "Hello"
    html_pieces: Sequence[str] | None = None
    text_pieces: Sequence[str] = field(default_factory=lambda: ["Hello\n"])


def _composed(mail: Mail, *, name: str = "", **campaign: Any) -> bytes:
    usual: dict[str, Any] = {"headers": {}, "attachments": [], "inline": []}
    composer = EmailComposer(sender="Acme <news@example.com>", **{**usual, **campaign})
    return composer.compose(_ID, "ada@example.com", mail, name=name, date=_DATE).content


def _parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _obeys(content: bytes) -> None:
    """RFC 5322 sections 2.1.1 and 2.3; RFC 2045 sections 6.7 and 6.8; RFC 2047 section 2."""
    assert content.isascii()
    assert b"\0" not in content
    assert content.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    head = content.partition(b"\r\n\r\n")[0]
    assert all(len(line) <= 76 for line in head.split(b"\r\n") if b"=?utf-8?" in line)
    for part in _parsed(content).walk():
        assert part.defects == []
        if part["content-transfer-encoding"] in ("base64", "quoted-printable"):
            assert max(map(len, str(part.get_payload()).splitlines())) <= 76


def _octets(part: Any) -> bytes:
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.replace(b"\r\n", b"\n")


def _refused(*values: str) -> bool:
    """Whether a value has what no header of ours takes: controls and halves of characters."""
    return any(re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", value) for value in values)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(text=_TEXT, html=_TEXT)
@example(text="a" * 74 + " \nb" + "\n", html="é" + "a" * 71 + "\t\n")
@example(text=".\n..\n\n.", html="\r\r\n\n.\r")
@example(text="nul \0\n", html="x")
@example(text="x", html="é \0")
@example(text="From me\nx" * 400, html="=" * 999 + "\n")
def test_bodies_say_what_email_message_says(text: str, html: str) -> None:
    """Any text, with any line ends; half a character and a NUL are refused."""
    mail = Mail(html_pieces=[html], text_pieces=[text])
    if re.search("[\0\ud800-\udfff]", text + html):
        with pytest.raises(TemplateError):
            _composed(mail)
        return
    standard = EmailMessage(policy=email.policy.SMTP)
    standard.set_content(text, charset="utf-8", cte="base64")
    standard.add_alternative(html, subtype="html", charset="utf-8", cte="base64")

    content = _composed(mail)

    _obeys(content)
    ours, theirs = list(_parsed(content).walk()), list(_parsed(standard.as_bytes()).walk())
    assert [one.get_content_type() for one in ours] == [one.get_content_type() for one in theirs]
    assert [_octets(one) for one in ours[1:]] == [_octets(one) for one in theirs[1:]]


@settings(deadline=None)
@given(subject=_VALUE, name=_VALUE, value=_VALUE)
@example(subject="é" * 100, name="é" * 100, value="你" * 90)
@example(subject="x" * 998, name="x" * 998, value="y" * 900)
def test_headers_say_what_email_message_says(subject: str, name: str, value: str) -> None:
    """Any value: as it is, or refused when it has a line break or another control character."""
    mail, campaign = Mail(subject=subject), {"headers": {"X-Note": value}}
    if _refused(subject, name, value):
        with pytest.raises((TemplateError, ConfigurationError)):
            _composed(mail, name=name, **campaign)
        return
    standard = EmailMessage(policy=email.policy.SMTP)
    wanted = {"subject": subject.strip(" "), "x-note": value}

    content = _composed(mail, name=name, **campaign)

    _obeys(content)
    ours = _parsed(content)
    assert len(ours.keys()) == len(set(ours.keys()))
    for header, text in wanted.items():
        # It takes more characters for line ends than there are, and decodes what looks encoded.
        if len(text.splitlines()) <= 1 and "=?" not in text:
            standard[header] = text
            assert ours[header] == standard[header]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(name=_NAME, content=st.binary(max_size=300))
@example(name="a\r\nBcc: eve@example.com", content=b"")
@example(name='a"; filename="b.pdf', content=b"\r\n.\r\n")
@example(name="ü" * 100 + ".pdf", content=b"%PDF-")
@example(name="a \\ b", content=b"")
def test_attachments_say_what_email_message_says(name: str, content: bytes) -> None:
    """Any octets and any file name; one with a line break never reaches the wire."""
    try:
        attachment = Attachment(name=name, content=content)
    except ConfigurationError:
        return
    assert not _refused(name)
    standard = EmailMessage(policy=email.policy.SMTP)
    standard.set_content("x")
    kind, _, subtype = attachment.type.partition("/")
    standard.add_attachment(content, maintype=kind, subtype=subtype, filename=name)

    wire = _composed(Mail(), attachments=[attachment])

    _obeys(wire)
    (ours,) = _parsed(wire).iter_attachments()
    (theirs,) = standard.iter_attachments()
    assert isinstance(ours, EmailMessage)
    assert ours.get_content_type() == theirs.get_content_type()
    assert ours.get_payload(decode=True) == theirs.get_payload(decode=True) == content
    assert ours.get_filename() == name.strip()  # which is what this parser makes of it


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    pieces=st.lists(st.text(st.sampled_from("abc .=é你🎉\n<>"), max_size=60), max_size=8),
    subject=st.text(st.sampled_from("abc é你🎉"), max_size=80),
)
def test_a_foreign_parser_agrees_on_pieces(
    mailparser: Any, pieces: list[str], subject: str
) -> None:
    """npm's mailparser reads what ours put together from pieces."""
    seen = mailparser(_composed(Mail(subject=subject, text_pieces=pieces)))

    assert (seen.get("subject") or "").split() == subject.split()
    assert seen["text"].split() == "".join(pieces).split()


_PIECES = st.lists(st.text(_ANY.filter(lambda sign: sign not in "\ud800"), max_size=90), max_size=9)


@settings(deadline=None)
@given(messages=st.lists(_PIECES, min_size=1, max_size=4))
@example(messages=[["é", "a" * 73, " ", "\n"], ["é" + "a" * 74, "", "b\n"]])
@example(messages=[["é\n", ".", "\nx"], ["é\n", ".", "x"]])
@example(messages=[["é", "\r", "\n", "x\0", "=" * 76]])
def test_pieces_give_what_the_whole_gives(messages: list[list[str]]) -> None:
    """Wherever a text is cut, and whatever was encoded before: the same octets."""
    encoder = TextEncoder()
    for pieces in messages * 2:
        if re.search("[\0\ud800-\udfff]", "".join(pieces)):
            with pytest.raises((TextError, UnicodeEncodeError)):
                encoder.part("plain", pieces)
        else:
            assert encoder.part("plain", pieces) == TextEncoder().part("plain", ["".join(pieces)])


def test_an_encoder_forgets_before_it_is_full() -> None:
    """Values that come once do not fill the memory; what was forgotten is encoded again."""
    encoder, word = TextEncoder(), "für dich "
    first = encoder.part("plain", [word, "1\n"])

    for number in range(40):
        encoder.part("plain", [word, f"é{number}" * 20_000, "\n"])

    assert encoder.part("plain", [word, "1\n"]) == first


_LABEL = st.text(st.sampled_from("aZ0-é_.xn"), max_size=12)


@settings(max_examples=300)
@given(domain=st.one_of(_LABEL, _LABEL.map(lambda label: f"{label}.example")))
@example(domain="xn--bcher-kva.example")
@example(domain="xn--a.example")
@example(domain="ab--c.example")
@example(domain="a" * 63 + ".example")
@example(domain="a" * 64 + ".example")
@example(domain=".".join(["a" * 60] * 5))
@example(domain=".".join(["a" * 62] * 4) + ".a")
@example(domain="example.com.")
@example(domain="example.com\n")
def test_an_address_that_is_normal_already_stays(domain: str) -> None:
    """The short way gives what the IDNA library gives, and refuses what it refuses."""
    try:
        expected = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        with pytest.raises(HeaderError):
            normal_address(f"ada+x.y@{domain}", "x")
    else:
        assert normal_address(f"ada+x.y@{domain}", "x") == f"ada+x.y@{expected}"


@pytest.mark.parametrize("local", ["", ".", "a.", ".a", "a..b", "a b", "a@b", 'a"b', "a(b", "a\n"])
def test_a_local_part_that_is_none(local: str) -> None:
    """The short way takes no more than the long one."""
    for domain in ("example.com", "bücher.example"):
        with pytest.raises(HeaderError):
            normal_address(f"{local}@{domain}", "x")
