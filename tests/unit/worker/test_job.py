"""What worker and fork server tell each other arrives as it was sent."""

from __future__ import annotations

import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.worker.job import Job, encode, job_message, receive

texts = st.text(max_size=300)
jobs = st.builds(
    Job,
    flow_run=texts,
    deployment=st.none() | texts,
    environment=st.dictionaries(texts, texts, max_size=5),
    directory=texts,
    manifest_path=texts,
    stream_output=st.booleans(),
)


@given(st.lists(st.tuples(st.integers(), jobs), max_size=4))
def test_jobs_arrive_whole_and_in_order(sent: list[tuple[int, Job]]) -> None:
    """However the socket cuts them, and the end is told."""
    ours, theirs = socket.socketpair()
    data = b"".join(encode(job_message(number, job)) for number, job in sent)

    def send() -> None:
        with ours:
            ours.sendall(data)

    sender = threading.Thread(target=send)
    sender.start()
    with theirs:
        received = []
        while (message := receive(theirs)) is not None:
            received.append((message["number"], Job(**message["job"])))
    sender.join()

    assert received == sent


def test_a_message_cut_short_is_the_end() -> None:
    """The other side was killed in the middle of it."""
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(encode({"number": 1})[:-3])

        assert receive(theirs) is None
