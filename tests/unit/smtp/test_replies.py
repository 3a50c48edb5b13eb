"""Replies, from whatever pieces the network makes of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smtp.replies import (
    MAX_LINE,
    MAX_LINES,
    MalformedReply,
    Reply,
    ReplyParser,
)

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40)
_REPLIES = st.lists(
    st.tuples(st.integers(200, 599), st.lists(_TEXT, min_size=1, max_size=4)), max_size=5
)


def _written(code: int, lines: list[str]) -> bytes:
    last = len(lines) - 1
    return b"".join(
        f"{code}{' ' if number == last else '-'}{line}\r\n".encode()
        for number, line in enumerate(lines)
    )


@given(replies=_REPLIES, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_replies_do_not_depend_on_how_they_are_cut(
    replies: list[tuple[int, list[str]]], cuts: list[int]
) -> None:
    """Fed whole and fed in pieces, a stream gives the same replies, in order."""
    stream = b"".join(_written(code, lines) for code, lines in replies)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parser = ReplyParser()

    found = [reply for start, end in pairwise(edges) for reply in parser.feed(stream[start:end])]

    assert [reply.code for reply in found] == [code for code, _ in replies]
    assert found == list(ReplyParser().feed(stream))


@pytest.mark.parametrize(
    ("written", "reply"),
    [
        (b"250 2.1.5 Ok\r\n", Reply(code=250, enhanced="2.1.5", text="Ok")),
        (b"250\r\n", Reply(code=250)),
        (b"250 \n", Reply(code=250)),
        (
            b"550-5.1.1 The account\r\n550 5.1.1 does not exist\r\n",
            Reply(code=550, enhanced="5.1.1", text="The account does not exist"),
        ),
        (b"552 4.2.2 full\r\n", Reply(code=552, enhanced="4.2.2", text="full")),
        (b"550 5.1.1\r\n", Reply(code=550, enhanced="5.1.1")),
        (b"550 5.1.1.1 odd\r\n", Reply(code=550, text="5.1.1.1 odd")),
        (b"250 \xe9t\xe9\r\n", Reply(code=250, text="�t�")),
    ],
)
def test_reply_is_read(written: bytes, reply: Reply) -> None:
    """Code, enhanced code and text, also without text and over several lines."""
    assert list(ReplyParser().feed(written)) == [reply]


@pytest.mark.parametrize(
    "written",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"250x\r\n",
        b"099 no\r\n",
        b"600 no\r\n",
        b"250-one\r\n251 two\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"2" * (MAX_LINE + 1),
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"250-x\r\n" * MAX_LINES,
        "２５０ ok\r\n".encode(),
    ],
)
def test_nonsense_is_refused(written: bytes) -> None:
    """Whatever is not a reply raises, and fills no memory."""
    with pytest.raises(MalformedReply):
        list(ReplyParser().feed(written))


@given(st.binary(max_size=300))
def test_any_bytes_give_replies_or_malformed(data: bytes) -> None:
    """Nothing else ever comes out of the parser."""
    try:
        replies = list(ReplyParser().feed(data))
    except MalformedReply:
        return

    assert all(200 <= reply.code < 600 for reply in replies)
