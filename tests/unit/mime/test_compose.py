"""What others read out of a message is what went in."""

from __future__ import annotations

import base64
import email
import email.policy
import html as html_escapes
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ignition_ext.errors import ConfigurationError, TemplateError
from ignition_ext.templates.attachments import Attachment
from ignition_ext.templates.mime import ComposedEmail, EmailComposer
from ignition_ext.values import MessageId

_ID = MessageId(UUID("01a1fd27-c6b9-7d9d-81f1-eba9c65ddb1a"))
_DATE = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
_PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
_NAMES = [
    "Ada Lovelace",
    "Müller, Söhne & Co.",
    'Ada "Countess" Lovelace',
    "محمد بن علي",
    "王小明",
    "Дмитрий Шостакович",
    "🎉 Party 👩‍👩‍👧‍👦",
    "=?utf-8?Q?trick?=",
    "O'Brien (sales) <x>",
    "a\\b",
    "mail@example.org",
    "\u202eright to left\u202c",
    "x" * 300,
    "very " * 60 + "long",
    ".dot",
]


@dataclass(frozen=True)
class Mail:
    subject: str = "Hello"
    html: str | None = None
    text: str = "Hello\n"

    @property
    def html_pieces(self) -> Sequence[str] | None:
        return None if self.html is None else [self.html]

    @property
    def text_pieces(self) -> Sequence[str]:
        return [self.text]


def _composer(**changes: Any) -> EmailComposer:
    usual: dict[str, Any] = {
        "sender": "Acme <news@example.com>",
        "headers": {},
        "attachments": [],
        "inline": [],
        "message_id_domain": "example.com",
    }
    return EmailComposer(**{**usual, **changes})


def _compose(mail: Mail, *, name: str = "", **changes: Any) -> ComposedEmail:
    return _composer(**changes).compose(_ID, "ada@example.com", mail, name=name, date=_DATE)


def _python(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for each in message.walk():
        assert each.defects == []
    return message


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode()


def _mailbox(content: bytes, field: str) -> tuple[str, str]:
    """Name and address, by the older half of Python's library.

    The newer one (``headerregistry``) leaves blanks between encoded words of a name, against
    RFC 2047 section 6.2.
    """
    raw = email.message_from_bytes(content)[field]
    name, address = parseaddr(re.sub(r"\r\n(?=[ \t])", "", raw))
    return str(make_header(decode_header(name))), address


def _crlf(text: str) -> str:
    """As it goes over the wire: CRLF line ends, the last line ended."""
    lines = re.split("\r\n|\r|\n", text)
    return "\r\n".join(lines if lines[-1] == "" else [*lines, ""]) or "\r\n"


def _well_formed(content: bytes) -> None:
    assert content.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert content.isascii()
    assert b"\0" not in content


# Any Unicode that has a UTF-8 form; line ends and blanks come often, for they are what breaks.
_ANY = st.characters(codec="utf-8", exclude_characters="\0")
_TEXT = st.text(st.one_of(_ANY, st.sampled_from("\r\n .=?_\t é你🎉\u2028\x85\x0b")), max_size=300)
_LINE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=200)
_LONG = st.one_of(_TEXT, _TEXT.map(lambda text: text * 40))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(subject=_LINE, name=_LINE, text=_LONG, html=st.one_of(st.none(), _LONG))
@example(subject="x" * 2000, name="é" * 500, text="y" * 5000, html="<p>" + "z" * 5000)
@example(subject="\u3000你好\u3000", name="=?utf-8?B?eA==?=", text=".\n..\nFrom me\n", html=" ")
@example(subject="a  b   c", name="a  b", text="trailing \nand tab\t\n", html="=\n=3D")
@example(subject="é é", name="é é", text="", html="")
def test_pythons_parser_reads_what_went_in(
    subject: str, name: str, text: str, html: str | None
) -> None:
    """Any Unicode, any line length: subject, name, text and HTML come back, and nothing else."""
    composed = _compose(Mail(subject, html, text), name=name)

    _well_formed(composed.content)
    message = _python(composed.content)
    assert message["subject"] == subject.strip(" ")
    assert _mailbox(composed.content, "to") == (name, "ada@example.com")
    assert _part(message, "plain") == _crlf(text)
    if html is not None:
        assert _part(message, "html") == _crlf(html)
    assert len(list(message.walk())) == (1 if html is None else 3)


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    subject=_LINE,
    name=_LINE,
    text=_TEXT,
    html=_TEXT,
    file=st.text(
        st.characters(codec="utf-8", categories=["L", "N", "Zs", "So"]), min_size=1, max_size=60
    ),
    content=st.binary(max_size=200),
)
def test_a_foreign_parser_reads_what_went_in(
    mailparser: Any, subject: str, name: str, text: str, html: str, file: str, content: bytes
) -> None:
    """npm's mailparser, which trims blanks and composes no characters, sees the same."""
    composed = _compose(
        Mail(subject, html, text),
        name=name,
        attachments=[Attachment(name=f"{file}.bin", content=content)],
    )

    seen = mailparser(composed.content)

    assert _squeezed(seen.get("subject")) == _squeezed(subject)
    assert _squeezed(seen["to"][0][0]) == _squeezed(name)
    assert seen["to"][0][1] == "ada@example.com"
    assert _squeezed(seen["text"]) == _squeezed(text)
    assert _squeezed(seen["html"]) == _squeezed(html)
    assert _squeezed(seen["attachments"][0]["name"]) == _squeezed(f"{file}.bin")
    assert base64.b64decode(seen["attachments"][0]["content"]) == content


def _squeezed(text: str | None) -> str:
    """Without what JavaScript trims, and blank runs as one."""
    return " ".join(re.split(r"[\s\x00-\x20\ufeff\u200b]+", text or "")).strip()


@pytest.mark.parametrize("name", _NAMES)
def test_names_of_people(mailparser: Any, name: str) -> None:
    """Names in many scripts, with quotes, commas and traps, to two parsers, in From and To."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    composed = _compose(Mail(), name=name, sender=f'"{quoted}" <news@example.com>')

    _well_formed(composed.content)
    foreign = mailparser(composed.content)
    for field, address in (("from", "news@example.com"), ("to", "ada@example.com")):
        assert _mailbox(composed.content, field) == (name, address)
        assert foreign[field] == [[name, address]]


@pytest.mark.parametrize(
    ("sender", "name", "address"),
    [
        ("news@example.com", "", "news@example.com"),
        ("Acme <news@example.com>", "Acme", "news@example.com"),
        ("Müller, Söhne <news@bücher.example>", "Müller, Söhne", "news@xn--bcher-kva.example"),
        (' "Acme, Inc." <news@example.com> ', "Acme, Inc.", "news@example.com"),
        ("<news@example.com>", "", "news@example.com"),
    ],
)
def test_sender_is_read(sender: str, name: str, address: str) -> None:
    """As operators write it, with or without quotes; domains in IDNA form."""
    composed = _compose(Mail(), sender=sender)

    assert _mailbox(composed.content, "from") == (name, address)
    assert composed.envelope_from == address


def test_the_whole_tree(mailparser: Any) -> None:
    """Mixed, related, alternative; images by name, files with names in other scripts."""
    html = '<p>Hi <img src="cid:logo.png"><i style="background:url(cid:my%20bild.png)"></i></p>'
    composed = _compose(
        Mail(html=html),
        attachments=[
            Attachment(name="Bedingungen " + "ü" * 60 + ".pdf", content=b"%PDF-1.7 x"),
            Attachment(name="契約.txt", content="你好".encode()),
            Attachment(name='a"b.csv', content=b"a;b\n"),
        ],
        inline=[
            Attachment(name="logo.png", content=_PNG),
            Attachment(name="my bild.png", content=_PNG + b"2"),
            Attachment(name="unused.png", content=_PNG),
        ],
    )

    _well_formed(composed.content)
    types = [part.get_content_type() for part in _python(composed.content).walk()]
    assert types == [
        "multipart/mixed",
        "multipart/related",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "image/png",
        "image/png",
        "application/pdf",
        "text/plain",
        "text/csv",
    ]
    seen = mailparser(composed.content)
    names = [each["name"] for each in seen["attachments"]]
    assert names == [
        "logo.png",
        "my bild.png",
        "Bedingungen " + "ü" * 60 + ".pdf",
        "契約.txt",
        'a"b.csv',
    ]
    images = [each for each in seen["attachments"] if each.get("related")]
    assert [base64.b64decode(each["content"]) for each in images] == [_PNG, _PNG + b"2"]
    assert re.findall(r"cid:([^\")]+)", seen["html"]) == [each["cid"] for each in images]


def test_headers_of_a_message(mailparser: Any) -> None:
    """Date, Message-ID from the message's id, and what the campaign adds."""
    headers = {
        "Reply-To": "Jörg <help@example.com>, b@example.org",
        "List-Unsubscribe": "<https://example.com/u?" + "x" * 300 + ">, <mailto:u@example.com>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "X-Campaign": "Frühling – 春",
    }
    composed = _compose(Mail(), headers=headers)

    _well_formed(composed.content)
    message = _python(composed.content)
    assert message["message-id"] == f"<{_ID}@example.com>"
    assert message["date"].datetime == _DATE
    assert message["list-unsubscribe"] == headers["List-Unsubscribe"]
    assert message["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert message["x-campaign"] == headers["X-Campaign"]
    seen = mailparser(composed.content)
    assert seen["replyTo"] == [["Jörg", "help@example.com"], ["", "b@example.org"]]
    assert seen["messageId"] == f"<{_ID}@example.com>"
    assert [name for name in message if message.get_all(name, [])[1:]] == []


def test_the_same_message_is_the_same_bytes() -> None:
    """A second copy is recognisable as one."""
    mail = Mail(html="<p>x</p>")

    assert _compose(mail) == _compose(mail)


_BREAKS = ["a\r\nBcc: eve@example.com", "a\nb", "a\rb", "a\0b", "a\x1bb", "half \ud83d"]


@pytest.mark.parametrize("value", _BREAKS)
def test_line_breaks_in_personal_values_fail_that_recipient(value: str) -> None:
    """Subject, name and address; nothing is composed."""
    composer = _composer()
    for arguments in (
        {"rendered": Mail(subject=value)},
        {"rendered": Mail(), "name": value},
        {"rendered": Mail(), "address": f"{value}@example.com"},
        {"rendered": Mail(), "address": f"ada@example.com{value}"},
    ):
        call: dict[str, Any] = {"address": "ada@example.com", "name": "", **arguments}
        with pytest.raises(TemplateError):
            composer.compose(_ID, call["address"], call["rendered"], name=call["name"], date=_DATE)


@pytest.mark.parametrize("value", _BREAKS)
def test_line_breaks_in_the_campaigns_values_fail_the_campaign(value: str) -> None:
    """Sender, headers, file names, domains."""
    for changes in (
        {"sender": f"{value} <news@example.com>"},
        {"sender": f"news@example.com{value}"},
        {"headers": {"Reply-To": f"{value} <a@example.com>"}},
        {"headers": {"X-Thing": value}},
        {"headers": {"List-Unsubscribe": value}},
        {"headers": {f"X-{value}": "x"}},
        {"message_id_domain": f"example.com{value}"},
        {"envelope_from": f"{value}@example.com"},
    ):
        with pytest.raises(ConfigurationError):
            _composer(**changes)
    with pytest.raises(ConfigurationError):
        Attachment(name=f"{value}.txt", content=b"")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"headers": {"Bcc": "eve@example.com"}}, "Bcc is set by Ignition"),
        ({"headers": {"content-type": "text/plain"}}, "content-type is set by Ignition"),
        ({"headers": {"Subject": "x"}}, "Subject is set by Ignition"),
        ({"headers": {"Reply-To": "nobody"}}, "not an email address"),
        ({"headers": {"Reply-To": "müller@example.com"}}, "ASCII"),
        ({"headers": {"List-Id": "ü"}}, "ASCII"),
        ({"headers": {"References": "x" * 1200}}, "998"),
        ({"headers": {"X Y": "x"}}, "not a header's name"),
        ({"sender": "Acme"}, "not an email address"),
        ({"sender": "a@example.com, b@example.com"}, "not an email address"),
        ({"sender": "a@exam ple.com"}, "not valid|not an email"),
    ],
)
def test_headers_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    """Each refused with its name."""
    with pytest.raises(ConfigurationError, match=words):
        _composer(**changes)


def test_addresses_in_other_scripts() -> None:
    """Domains are encoded and need nothing of the server; local parts need SMTPUTF8."""
    composer = _composer()

    domain = composer.compose(_ID, "ada@例え.jp", Mail(), date=_DATE)
    local = composer.compose(_ID, "用户@例え.jp", Mail(), name="王", date=_DATE)

    assert (domain.recipient, domain.smtputf8) == ("ada@xn--r8jz45g.jp", False)
    assert (local.recipient, local.smtputf8) == ("用户@xn--r8jz45g.jp", True)
    assert "<用户@xn--r8jz45g.jp>".encode() in local.content


def test_an_image_that_is_not_there() -> None:
    """It would show as a hole: that is an error with the names there are."""
    composer = _composer(inline=[Attachment(name="logo.png", content=_PNG)])

    with pytest.raises(TemplateError, match=r"cid:lgo\.png, .* logo\.png"):
        composer.compose(_ID, "a@example.com", Mail(html="<img src='cid:lgo.png'>"), date=_DATE)
    # A text that only speaks of it is none of our business.
    composer.compose(_ID, "a@example.com", Mail(html="<p>placid:x and cid:y</p>"), date=_DATE)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("Grüße, Ada, aus Köln.\n", "quoted-printable"),
        ("你好，世界。" * 10, "base64"),
    ],
)
def test_encoding_is_chosen_by_content(text: str, encoding: str) -> None:
    """The one that costs least and keeps lines short."""
    message = _python(_compose(Mail(text=text)).content)

    assert message["content-transfer-encoding"] == encoding
    assert _part(message, "plain") == _crlf(text)


def test_normal_forms_are_kept() -> None:
    """Nobody composes or decomposes characters on the way."""
    name = unicodedata.normalize("NFD", "Åsa é")

    assert _mailbox(_compose(Mail(), name=name).content, "to")[0] == name


def test_html_entities_are_left_alone(mailparser: Any) -> None:
    """HTML goes through as it was rendered."""
    html = f"<p>{html_escapes.escape('<&>')} &eacute; é</p>"

    assert mailparser(_compose(Mail(html=html)).content)["html"].rstrip("\n") == html
