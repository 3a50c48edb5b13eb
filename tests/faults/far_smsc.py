"""An SMSC of its own process that writes down what it takes, and misbehaves as it is told.

``python far_smsc.py SETTINGS.json RECORD`` prints its port, and ends when its stdin does. Each
submit_sm that it takes becomes one JSON line of the record before it is answered; a bind becomes
``{"bind": N}`` before it is judged.

Settings: ``smsc`` holds attributes of the simulator; ``rules`` say what is done with the messages
from the ``first`` to the ``last`` that came, counted from 1: ``behaviour`` as the simulator knows
it, and ``then`` (drop, unbind, or octets in hexadecimal to write) with the last of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.smsc_behaviour import Behaviour

THEN_SECONDS = 0.05
"""After the message that brings it about, so that this message is stored."""


class FarSmsc(SmscSimulator):
    """The simulator with rules by order of arrival, and binds in the record."""

    rules: list[dict[str, Any]]
    came = 0

    def decide(self, destination: str) -> Behaviour:
        """What is done with this message."""
        self.came += 1
        for rule in self.rules:
            if rule["first"] <= self.came <= rule["last"]:
                if self.came == rule["last"] and (then := rule.get("then")):
                    asyncio.get_running_loop().call_later(THEN_SECONDS, self.act, then)
                return Behaviour(**rule.get("behaviour", {}))
        return Behaviour()

    def act(self, then: str) -> None:
        match then:
            case "drop":
                self.drop()
            case "unbind":
                for session in list(self.sessions):
                    session.unbind()
            case octets:
                self.send(bytes.fromhex(octets))

    @property
    def bind_attempts(self) -> int:
        return self._attempts

    @bind_attempts.setter
    def bind_attempts(self, count: int) -> None:
        self._attempts = count
        if count and self._file is not None:
            self._file.write(json.dumps({"bind": count}) + "\n")


async def main(settings: dict[str, Any], record: Path) -> None:
    smsc = FarSmsc(output=record, receipt_delay=0.01)
    smsc.rules = settings.get("rules", [])
    smsc.behaviour = smsc.decide
    for name, value in settings.get("smsc", {}).items():
        setattr(smsc, name, value)
    async with smsc:
        print(smsc.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)  # its end is the sign to end


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
