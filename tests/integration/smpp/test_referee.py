"""Foreign SMSCs judge what we write: node-smpp and smpp34, neither of which we use to write it."""

from __future__ import annotations

import asyncio
import json
import random
from asyncio.subprocess import PIPE
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import smpp34

from ignition_ext.channels.smpp import SmppTransport, segment
from ignition_ext.channels.smpp.alphabets import (
    DEFAULT,
    EXTENSION,
    PORTUGUESE_LOCKING,
    PORTUGUESE_SINGLE,
    SPANISH_SINGLE,
    TURKISH_LOCKING,
    TURKISH_SINGLE,
)
from ignition_ext.values import MessageState, OutcomeKind

MESSAGES = 2_000


@asynccontextmanager
async def node_smsc(referee: Path, output: Path, *arguments: str) -> AsyncIterator[int]:
    """The referee's SMSC; its port. When the block ends, all that it took is in ``output``."""
    process = await asyncio.create_subprocess_exec(
        "node", "smsc.mjs", str(output), *arguments, cwd=referee, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def read(output: Path) -> list[dict[str, Any]]:
    """What the referee took, in order."""
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def whole(taken: list[dict[str, Any]]) -> dict[str, str]:
    """Recipient to text, parts joined by the numbers in their headers; none may come twice."""
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    totals: dict[str, int] = {}
    for one in taken:
        heads = [bytes.fromhex(udh) for udh in one["udh"]]
        head = next((udh for udh in heads if udh[0] == 0), b"\0\3\0\1\1")
        to, total, number = one["destination"], head[3], head[4]
        assert number not in parts[to], "a part came twice"
        assert totals.setdefault(to, total) == total
        parts[to][number] = one["text"]
    for to, found in parts.items():
        assert sorted(found) == list(range(1, totals[to] + 1)), "a part is missing"
    return {to: "".join(found[n] for n in sorted(found)) for to, found in parts.items()}


def texts(count: int) -> list[str]:
    """Texts of 1 to 600 characters in many scripts, the same in each run."""
    chance = random.Random(20261121)
    gsm = DEFAULT.replace("\x1b", "").replace("\r", "") + "".join(EXTENSION)
    mixed = "aşğİ ÇöüПривет你好こんにちはمرحبا😀👩‍👩‍👧‍👦🇩🇪👍🏽é e\u0301“”–…"
    return [
        "".join(chance.choices(gsm if index % 2 else mixed, k=chance.randint(1, 600)))
        for index in range(count)
    ]


async def test_2000_messages_read_by_node_smpp(bench: Any, referee: Path, tmp_path: Path) -> None:
    """Text equal segment by segment, each message once, a receipt for each part."""
    output = tmp_path / "taken.jsonl"
    sent = {f"+4915100{index:06d}": text for index, text in enumerate(texts(MESSAGES))}
    async with node_smsc(referee, output) as port:
        journal = await bench.deliver(sent.items(), port=port, max_parts=40, linger=20)
    taken = read(output)

    assert journal.kinds == {OutcomeKind.ACCEPTED: MESSAGES}
    assert whole(taken) == {to[1:]: text for to, text in sent.items()}
    by_recipient = defaultdict(list)
    for one in taken:
        by_recipient["+" + one["destination"]].append(one["text"])
    for to, text in sent.items():
        assert by_recipient[to] == list(segment(text, max_parts=40).texts)
    assert {(one["source"], one["source_ton"], one["source_npi"]) for one in taken} == {
        ("Acme", 5, 0)
    }
    assert {(one["destination_ton"], one["destination_npi"]) for one in taken} == {(1, 1)}
    assert {one["registered_delivery"] for one in taken} == {1}
    ids = {part.outcome.provider_id for one in journal.deliveries.values() for part in one.parts}
    assert ids == {one["id"] for one in taken}
    assert {one.provider_id for one in bench.receipts} == ids
    assert {one.state for one in bench.receipts} == {MessageState.DELIVERED}


@pytest.mark.parametrize(
    ("alphabet", "letters"),
    [
        ("gsm7", DEFAULT.replace("\x1b", "") + "".join(EXTENSION)),
        ("latin1", "".join(map(chr, range(0x20, 0x7F))) + "áéíóúñÞßæ"),
        ("gsm7-turkish", "".join(TURKISH_SINGLE) + "aà@Ç"),
        ("gsm7-spanish", "".join(SPANISH_SINGLE) + "aà@Ç"),
        ("gsm7-turkish-locking", TURKISH_LOCKING.replace("\x1b", "") + "".join(TURKISH_SINGLE)),
        # The referee reads Portuguese by the locking table also where none is named.
        ("gsm7-portuguese", "".join(sorted(set(PORTUGUESE_SINGLE) - set(DEFAULT))) + "abc"),
        ("gsm7-portuguese-locking", PORTUGUESE_LOCKING.replace("\x1b", "")),
    ],
    ids=lambda value: value if value.startswith(("gsm7", "latin1")) else "",
)
async def test_alphabets_read_by_node_smpp(
    bench: Any, referee: Path, tmp_path: Path, alphabet: str, letters: str
) -> None:
    """Every character of every table, alone in a message and in one of many parts."""
    output = tmp_path / "taken.jsonl"
    sent = {f"+4915100{index:06d}": letter for index, letter in enumerate(letters)}
    sent["+4915199999999"] = letters * 4
    async with node_smsc(referee, output) as port:
        await bench.deliver(sent.items(), port=port, default_alphabet=alphabet)

    assert whole(read(output)) == {to[1:]: text for to, text in sent.items()}
    assert not [one for one in read(output) if one["data_coding"] == 8]


async def test_check_against_node_smpp(bench: Any, referee: Path, tmp_path: Path) -> None:
    """Its name and version are understood."""
    async with node_smsc(referee, tmp_path / "taken.jsonl") as port:
        offer = await SmppTransport(bench.options(port=port)).check()

    assert (offer.system_id, offer.interface_version) == ("referee", "3.4")


async def test_smpp34_as_the_smsc(bench: Any, unused_tcp_port: int) -> None:
    """A second foreign server: accepts, throttles, refuses, and sends receipts."""
    server = smpp34.Server("127.0.0.1", unused_tcp_port, system_id="smpp34")
    await server.start()
    taken: list[tuple[str, bytes]] = []
    throttled: Counter[str] = Counter()

    async def serve() -> None:
        esme: Any = None
        while True:
            event = await server.next()
            if isinstance(event, smpp34.Esme):
                esme = event
            elif isinstance(event, smpp34.SubmitSmEvent):
                to = event.destination_addr
                if to.endswith("1") and not throttled[to]:
                    throttled[to] += 1
                    event.reject(smpp34.ESME_RTHROTTLED)
                    continue
                if to.endswith("2"):
                    event.reject(smpp34.ESME_RINVDSTADR)
                    continue
                taken.append((to, event.short_message))
                event.accept(f"id{len(taken)}")
                await esme.deliver_sm(
                    "Acme",
                    f"id:id{len(taken)} stat:DELIVRD err:000 text:".encode(),
                    source_addr=to,
                    source_addr_ton=1,
                    source_addr_npi=1,
                    esm_class=4,
                )

    serving = asyncio.create_task(serve())
    try:
        journal = await bench.deliver(
            [(f"+4915100{index:06d}", f"text {index}") for index in range(100)],
            port=unused_tcp_port,
            linger=10,
        )
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await server.stop()

    assert journal.kinds == {OutcomeKind.ACCEPTED: 90, OutcomeKind.REJECTED: 10}
    assert sorted(taken) == sorted(
        (f"4915100{index:06d}", f"text {index}".encode()) for index in range(100) if index % 10 != 2
    )
    assert len(bench.receipts) == 90
    assert {one.state for one in bench.receipts} == {MessageState.DELIVERED}
