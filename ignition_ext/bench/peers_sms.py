"""The SMS peers: smpplib in one thread, with one message on the way or with a window of them.

``python -m ignition_ext.bench.peers_sms`` reads a job as JSON on stdin (``window`` says how many
may be unanswered) and prints ``messages`` and ``seconds``.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from itertools import cycle
from typing import Any

import smpplib.client
import smpplib.gsm


def send(job: dict[str, Any]) -> int:
    """Send for so many seconds; returns how many messages were answered."""
    answered = 0

    def note(pdu: Any, **_: Any) -> None:
        nonlocal answered
        answered += 1

    client = smpplib.client.Client(job["host"], job["port"], allow_unknown_opt_params=True)
    client.set_message_sent_handler(note)
    client.connect()
    client.bind_transceiver(system_id=job["system_id"], password=job["password"])
    samples, sent, messages = cycle(job["samples"]), 0, 0
    end = time.monotonic() + job["seconds"]
    while time.monotonic() < end:
        number, text = next(samples)
        parts, coding, esm_class = smpplib.gsm.make_parts(text)
        for part in parts:
            client.send_message(
                source_addr_ton=5,
                source_addr_npi=0,
                source_addr="Acme",
                dest_addr_ton=1,
                dest_addr_npi=1,
                destination_addr=number.removeprefix("+"),
                short_message=part,
                data_coding=coding,
                esm_class=esm_class,
                registered_delivery=True,
            )
            sent += 1
        messages += 1
        while sent - answered >= job["window"]:
            client.read_once()
    while answered < sent:
        client.read_once()
    client.unbind()
    client.disconnect()
    return messages


def main() -> None:
    """Send as the peer."""
    logging.getLogger("smpp").setLevel(logging.ERROR)
    job = json.load(sys.stdin)
    began = time.perf_counter()
    count = send(job)
    json.dump({"messages": count, "seconds": time.perf_counter() - began}, sys.stdout)


if __name__ == "__main__":
    main()
