"""The conversation: whatever a server answers, pipelined and one by one agree."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smtp.classify import Stage
from ignition_ext.channels.smtp.conversation import Conversation, UnaskedReply
from ignition_ext.channels.smtp.letter import Letter
from ignition_ext.channels.smtp.order import Order
from ignition_ext.channels.smtp.replies import MalformedReply, Reply

_GROUP = b"MAIL FROM:<a0@x>\r\nRCPT TO:<b0@x>\r\nDATA\r\n"


def _letter(number: int) -> Letter:
    return Letter(
        mail=f"MAIL FROM:<a{number}@x>\r\n".encode(),
        rcpt=f"RCPT TO:<b{number}@x>\r\n".encode(),
        content=f"body {number}\r\n".encode(),
    )


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a server answers to one message, were each command asked."""

    mail: int = 250
    rcpt: int = 250
    data: int = 354
    data_in_vain: int = 503
    dot: int = 250
    lone_dot: int = 554
    rset: int = 250


@dataclass
class ModelServer:
    """Reads what was written as a server does, and answers by the scripts."""

    scripts: list[Script]
    pipelined: bool
    taken: list[int] = field(default_factory=list)
    _rest: bytes = b""
    _number: int = 0
    _valid: bool = False
    _body: list[bytes] | None = None

    def read(self, data: bytes) -> list[int]:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        assert self.pipelined or self._body is not None or len(lines) <= 1, "more than one command"
        return [code for line in lines if (code := self._line(line))]

    def _line(self, line: bytes) -> int:
        if self._body is not None:
            return self._content(line)
        script = self.scripts[self._number]
        if line.startswith(b"MAIL"):
            self._number = int(line.removeprefix(b"MAIL FROM:<a").removesuffix(b"@x>"))
            script = self.scripts[self._number]
            self._valid = script.mail == 250
            return script.mail
        if line.startswith(b"RCPT"):
            assert line == f"RCPT TO:<b{self._number}@x>".encode()
            self._valid = self._valid and script.rcpt == 250
            return script.rcpt
        if line == b"DATA":
            code = script.data if self._valid else script.data_in_vain
            self._body = [] if code == 354 else None
            return code
        assert line == b"RSET"
        self._valid = False
        return script.rset

    def _content(self, line: bytes) -> int:
        assert self._body is not None
        if line != b".":
            assert self._valid, "a body for nobody"
            self._body.append(line)
            return 0
        body, self._body = self._body, None
        if not self._valid:
            assert body == []
            return self.scripts[self._number].lone_dot
        self._valid = False
        assert body == [f"body {self._number}".encode()]
        if self.scripts[self._number].dot == 250:
            self.taken.append(self._number)
        return self.scripts[self._number].dot


def _converse(
    scripts: list[Script], *, pipelining: bool, sizes: list[int]
) -> tuple[dict[int, tuple[Stage, int]], list[int]]:
    """Both sides until nothing moves, two letters under way; ``sizes``: replies read at once."""
    conversation = Conversation(pipelining=pipelining)
    server = ModelServer(scripts, pipelined=pipelining)
    letters = [_letter(number) for number in range(len(scripts))]
    verdicts: dict[int, tuple[Stage, int]] = {}
    replies: list[int] = []
    begun = 0
    while not conversation.over:
        while begun < len(letters) and begun - len(verdicts) < 2:
            conversation.begin(letters[begun])
            begun += 1
        before, letter, behind = conversation.take_output()
        if letter is not None:
            letter.handed_over = True
        replies += server.read(b"".join(before) + behind)
        if not replies:
            break
        size = sizes[len(verdicts) % len(sizes)]
        for code in replies[:size]:
            conversation.receive(Reply(code=code))
        del replies[:size]
        for letter, stage, reply in conversation.finished:
            number = letters.index(letter)
            assert number not in verdicts, "two verdicts"
            verdicts[number] = stage, reply.code
        conversation.finished.clear()
    assert conversation.over or len(verdicts) == len(letters)
    return verdicts, server.taken


_NO = [421, 450, 451, 550, 552, 554, 503, 530]
_SCRIPTS = st.builds(
    Script,
    mail=st.sampled_from([250, 250, 250, 250, *_NO]),
    rcpt=st.sampled_from([250, 250, 250, *_NO]),
    data=st.sampled_from([354, 354, 354, *_NO]),
    data_in_vain=st.sampled_from([354, *_NO]),
    dot=st.sampled_from([250, 250, *_NO]),
    lone_dot=st.sampled_from([250, *_NO]),
    rset=st.sampled_from([250, 250, 250, 421, 500]),
)


@given(
    scripts=st.lists(_SCRIPTS, min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_pipelined_and_one_by_one_agree(scripts: list[Script], sizes: list[int]) -> None:
    """The same replies mean the same for each message, whichever way its commands went out.

    The server takes what was accepted and nothing else, and no body without a valid recipient.
    """
    pipelined, taken = _converse(scripts, pipelining=True, sizes=sizes)
    single, taken_singly = _converse(scripts, pipelining=False, sizes=[1])

    both = pipelined.keys() & single.keys()
    assert both == set(range(len(both))), "settled out of order"
    assert {each: pipelined[each] for each in both} == {each: single[each] for each in both}
    for verdicts, arrived in ((pipelined, taken), (single, taken_singly)):
        accepted = [each for each, verdict in verdicts.items() if verdict == (Stage.CONTENT, 250)]
        assert arrived == accepted


@given(st.lists(_SCRIPTS, min_size=2, max_size=5))
def test_refusals_of_one_message_leave_its_neighbours_alone(scripts: list[Script]) -> None:
    """As long as the server does not hang up, every message gets the verdict of its own script."""
    calm = [
        Script(
            **{
                stage: 451 if code in {421, 530} else code
                for stage, code in vars(script).items()
                if stage != "rset"
            }
            | ({} if script.mail < 500 else {"mail": 452})
        )
        for script in scripts
    ]

    verdicts, _ = _converse(calm, pipelining=True, sizes=[3])

    for number, script in enumerate(calm):
        path = [
            (Stage.MAIL, script.mail),
            (Stage.RCPT, script.rcpt),
            (Stage.DATA, script.data),
            (Stage.CONTENT, script.dot),
        ]
        refusals = [step for step in path if step[1] >= 400]
        assert verdicts[number] == (refusals[0] if refusals else path[-1])


def _output(conversation: Conversation) -> bytes:
    before, letter, behind = conversation.take_output()
    if letter is not None:
        letter.handed_over = True
    return b"".join(before) + behind


def test_next_envelope_stands_behind_the_final_dot() -> None:
    """One write a message, and nothing behind DATA before its answer."""
    conversation = Conversation(pipelining=True)
    for number in range(3):
        conversation.begin(_letter(number))
    assert _output(conversation) == _GROUP

    for code in (250, 250, 354):
        conversation.receive(Reply(code=code))

    assert _output(conversation) == b"body 0\r\n.\r\n" + _GROUP.replace(b"0", b"1")
    assert not conversation.has_output


@pytest.mark.parametrize(
    ("replies", "kept", "verdicts"),
    [
        # dot, MAIL, RCPT, DATA
        ([250, 250, 250, 354], True, {0: 250}),
        ([451, 250, 250, 354], True, {0: 451}),
        ([250, 250, 550, 354], True, {0: 250, 1: 550}),
        ([250, 250, 550, 503], True, {0: 250, 1: 550}),
        ([250, 452, 503, 503], True, {0: 250, 1: 452}),
        ([250, 421], True, {0: 250, 1: 421}),
        ([421], True, {0: 421}),
        # MAIL, RCPT, DATA, dot
        ([251, 252, 354, 250], False, {0: 250}),
        ([251, 252, 354, 452], False, {0: 452}),
        ([251, 550, 354, 250], False, {0: 250, 1: 550}),
        ([251, 550, 503, 250], False, {0: 250, 1: 550}),
        ([451, 503, 503, 250], False, {0: 250, 1: 451}),
        ([251, 252, 354, 421], True, {0: 421}),
    ],
)
def test_a_server_that_answers_the_dot_last_is_understood(
    replies: list[int], kept: bool, verdicts: dict[int, int]
) -> None:
    """Each message gets its own verdict; such a server gets nothing behind a dot any more."""
    order = Order()
    conversation, letters = _behind(order)

    for code in replies:
        assert not conversation.finished
        conversation.receive(Reply(code=code))

    found = {letters.index(letter): reply.code for letter, _, reply in conversation.finished}
    assert found == verdicts
    assert order.is_kept is kept
    if replies[-1] != 421 and 1 not in verdicts:
        taken, letter, _ = conversation.take_output()
        assert taken == [b"body 1\r\n", b".\r\n"]
        assert letter is letters[1]


@pytest.mark.parametrize(
    ("replies", "verdicts"),
    [
        ([], {}),
        ([250], {0: 250}),
        ([250, 250, 250], {0: 250}),
        ([250, 250, 354], {}),  # these were MAIL's, RCPT's and DATA's: the dot has no answer
        ([451, 250], {0: 451}),
    ],
)
def test_what_came_before_a_link_was_lost_counts(
    replies: list[int], verdicts: dict[int, int]
) -> None:
    """As far as it is clear what it answered."""
    conversation, letters = _behind(Order())
    for code in replies:
        conversation.receive(Reply(code=code))
    assert conversation.is_sorting is bool(replies)

    conversation.hang_up()

    found = {letters.index(letter): reply.code for letter, _, reply in conversation.finished}
    assert found == verdicts


def test_a_server_without_order_gets_nothing_behind_a_dot() -> None:
    """Its next message waits for the verdict."""
    order = Order()
    order.is_kept = False
    conversation = Conversation(pipelining=True, order=order)
    for number in range(2):
        conversation.begin(_letter(number))
    assert _output(conversation) == _GROUP
    for code in (250, 250, 354):
        conversation.receive(Reply(code=code))
    assert _output(conversation) == b"body 0\r\n.\r\n"
    assert not conversation.has_output

    conversation.receive(Reply(code=250))
    assert _output(conversation) == _GROUP.replace(b"0", b"1")


def _behind(order: Order) -> tuple[Conversation, list[Letter]]:
    """Two letters, the second one's commands behind the first one's dot."""
    conversation = Conversation(pipelining=True, order=order)
    letters = [_letter(number) for number in range(2)]
    for letter in letters:
        conversation.begin(letter)
    for code in (250, 250, 354):
        conversation.receive(Reply(code=code))
    _output(conversation)
    letters[0].handed_over = True
    return conversation, letters


def test_a_body_is_not_written_again() -> None:
    """Its memory is given back when it goes out."""
    conversation, letter = Conversation(pipelining=True), _letter(0)
    conversation.begin(letter)
    for code in (250, 250, 354):
        conversation.receive(Reply(code=code))

    assert _output(conversation) == _GROUP + b"body 0\r\n.\r\n"
    assert letter.content == b""


@pytest.mark.parametrize("codes", [[354], [250, 354], [250, 250, 250], [451, 250, 250]])
def test_what_cannot_stand_there_is_nonsense(codes: list[int]) -> None:
    """354 to MAIL or RCPT, 250 to DATA: also where the message was refused already."""
    conversation = Conversation(pipelining=True)
    conversation.begin(_letter(0))

    *usual, odd = [Reply(code=code) for code in codes]
    for reply in usual:
        conversation.receive(reply)

    with pytest.raises(MalformedReply):
        conversation.receive(odd)


def test_thanks_before_the_message_was_written_are_nonsense() -> None:
    """A 250 that comes before the final dot cannot mean the message."""
    conversation = Conversation(pipelining=True)
    conversation.begin(_letter(0))
    for code in (250, 250, 354):
        conversation.receive(Reply(code=code))

    with pytest.raises(MalformedReply, match="not written yet"):
        conversation.receive(Reply(code=250))


def test_a_reply_that_nobody_asked_for() -> None:
    """Told apart: it concerns no message."""
    with pytest.raises(UnaskedReply, match="421 idle"):
        Conversation(pipelining=True).receive(Reply(code=421, text="idle"))
