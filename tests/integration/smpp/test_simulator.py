"""The simulator as a program, and its own reading against a foreign encoder."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import smpp34
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.values import OutcomeKind


async def test_the_program_records_and_ends_cleanly(bench: Any, tmp_path: Path) -> None:
    """One JSON line a submit_sm; SIGTERM ends it with 0."""
    output = tmp_path / "sms.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ignition_ext.devtools.smsc",
        "--port", "0", "--output", str(output), "--system-id", "demo", "--password", "demo",
        stdout=PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    port = int((await process.stdout.readline()).rsplit(b":", 1)[1])
    journal = await bench.deliver(
        [("+4915112345678", "Grüße €"), ("+4915112345679", "ş" * 100)],
        port=port, system_id="demo", password="demo", linger=5,
    )  # fmt: skip
    process.send_signal(signal.SIGTERM)

    assert await process.wait() == 0
    assert journal.kinds == {OutcomeKind.ACCEPTED: 2}
    records = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [(one["destination"], one["text"], one["part"]) for one in records] == [
        ("4915112345678", "Grüße €", 1),
        ("4915112345679", "ş" * 67, 1),
        ("4915112345679", "ş" * 33, 2),
    ]
    assert {one["message_id"] for one in records} == {one.provider_id for one in bench.receipts}


async def test_a_second_copy_is_not_hidden(bench: Any) -> None:
    """What came twice shows twice in ``messages``."""
    await bench.deliver([("+4915112345678", "Hi")] * 2)

    assert bench.smsc.messages == [("4915112345678", "Hi")] * 2


@given(
    source=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    message=st.binary(max_size=254),
    coding=st.sampled_from([3, 4, 8]),
    ton=st.integers(0, 255),
)
def test_submit_sm_of_a_foreign_encoder_is_read(
    source: str, message: bytes, coding: int, ton: int
) -> None:
    """The simulator finds each field where smpp34 put it."""
    pdu = smpp34.SubmitSm(
        source,
        "4915112345678",
        message,
        source_addr_ton=ton,
        data_coding=coding,
        registered_delivery=1,
        sequence_number=9,
    ).encode()
    read = wire.read_submit(pdu, message_id="x", session=1)

    assert (read.source, read.source_ton, read.octets) == (source, ton, message)
    assert (read.destination, read.data_coding) == ("4915112345678", coding)
    assert (read.sequence, read.registered_delivery) == (9, 1)
