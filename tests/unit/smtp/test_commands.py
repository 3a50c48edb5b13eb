"""What is written for an envelope, and what is refused before it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smtp import EmailEnvelope, ServerOffer
from ignition_ext.channels.smtp.letter import Letter, mail_command, make_letter, stuffed
from ignition_ext.values import FailureClass, MessageId, Outcome, OutcomeKind, new_id


def _offer(**extensions: str) -> ServerOffer:
    names = {name.removeprefix("x"): value for name, value in extensions.items()}
    return ServerOffer(server="mx:25", greeting="", extensions=names, tls="", authenticated=False)


def _envelope(
    *,
    recipient: str = "ada@example.com",
    sender: str = "news@example.com",
    content: bytes = b"Subject: x\r\n\r\nhello\r\n",
    smtputf8: bool = False,
) -> EmailEnvelope:
    return EmailEnvelope(
        message_id=MessageId(new_id()),
        envelope_from=sender,
        recipient=recipient,
        content=content,
        smtputf8=smtputf8,
    )


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com\r\nRCPT TO:<eve@example.com>",
        "ada@example.com>\nDATA",
        "ada@example.com> NOTIFY=NEVER",
        "ada@example.com\x00",
        "<ada@example.com",
        "ada@example.com\x85",
        "ada@example.com\u2028",
        "ada\ud800@example.com",
    ],
)
@pytest.mark.parametrize("field", ["recipient", "sender"])
def test_an_address_cannot_hold_a_command(address: str, field: str) -> None:
    """What could end the command is refused, and not written."""
    envelope = _envelope(recipient=address) if field == "recipient" else _envelope(sender=address)

    fault = make_letter(envelope, _offer(SMTPUTF8="", x8BITMIME=""))

    assert isinstance(fault, Outcome)
    assert fault.kind is OutcomeKind.REJECTED


@pytest.mark.parametrize(
    ("envelope", "offer", "failure", "word"),
    [
        (_envelope(recipient="müller@example.com"), _offer(), FailureClass.ADDRESS, "SMTPUTF8"),
        (
            _envelope(recipient="müller@example.com", smtputf8=True),
            _offer(SIZE="10"),
            FailureClass.ADDRESS,
            "does not offer SMTPUTF8",
        ),
        (_envelope(recipient=""), _offer(), FailureClass.ADDRESS, "empty"),
        (_envelope(content="é\r\n".encode()), _offer(), FailureClass.CONTENT, "8BITMIME"),
        (_envelope(content=b"x" * 100), _offer(SIZE="99"), FailureClass.CONTENT, "takes 99"),
        (_envelope(content=b"a\nb"), _offer(), FailureClass.CONTENT, "CRLF"),
        (_envelope(content=b"a\rb"), _offer(), FailureClass.CONTENT, "CRLF"),
        (_envelope(content=b"a\r\r\nb"), _offer(), FailureClass.CONTENT, "CRLF"),
    ],
)
def test_what_the_server_cannot_take_is_refused_here(
    envelope: EmailEnvelope, offer: ServerOffer, failure: FailureClass, word: str
) -> None:
    """Each with its class and in words."""
    fault = make_letter(envelope, offer)

    assert isinstance(fault, Outcome)
    assert fault.failure_class is failure
    assert word in fault.text


def test_ordinary_envelope_may_go() -> None:
    """Also a bounce address that is empty, and a size limit of 0, which means none."""
    for offer in (_offer(SIZE="0"), _offer(SIZE="nonsense")):
        letter = make_letter(_envelope(sender=""), offer)

        assert isinstance(letter, Letter)
        assert letter.mail.startswith(b"MAIL FROM:<>")
        assert letter.rcpt == b"RCPT TO:<ada@example.com>\r\n"


def test_mail_command_says_only_what_is_announced_and_needed() -> None:
    """SIZE where announced; BODY and SMTPUTF8 where the message needs them."""
    everything = _offer(SIZE="1000", x8BITMIME="", SMTPUTF8="")

    assert mail_command(_envelope(), _offer()) == "MAIL FROM:<news@example.com>"
    assert mail_command(_envelope(), everything) == "MAIL FROM:<news@example.com> SIZE=21"
    assert mail_command(_envelope(content="é\r\n".encode(), smtputf8=True), everything) == (
        "MAIL FROM:<news@example.com> SIZE=4 BODY=8BITMIME SMTPUTF8"
    )


@given(st.lists(st.text(st.sampled_from(".ab \x85"), max_size=5), max_size=8))
def test_dots_survive(lines: list[str]) -> None:
    """No line of the stuffed body is a lone dot; unstuffed as RFC 5321 says, it is the body."""
    content = "".join(f"{line}\r\n" for line in lines).encode()

    body = stuffed(content)

    assert body is not None
    wire = body.split(b"\r\n")
    assert b"." not in wire
    assert b"\r\n".join(line.removeprefix(b".") for line in wire) == (content or b"\r\n")


def test_last_line_is_ended() -> None:
    """The final dot needs a line of its own."""
    assert stuffed(b"x") == b"x\r\n"
    assert stuffed(b"..\r\n.") == b"...\r\n..\r\n"


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\xff"]), max_size=9))
def test_only_pairs_end_lines(pieces: list[bytes]) -> None:
    """A lone CR or LF anywhere is seen; nothing else is refused."""
    content = b"".join(pieces)
    rest = content.replace(b"\r\n", b"")

    assert (stuffed(content) is None) == (b"\r" in rest or b"\n" in rest)
