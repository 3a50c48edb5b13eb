"""A listener of its own process, as ``ignition receipts listen`` is one; only Prefect is left out.

``python listener.py SPEC.json`` prints ``ready`` when it begins and what was heard at its end.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from ignition_ext.budgets.bind import SlotTimes
from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.database import Database
from ignition_ext.returns.sms_listening import Listening, listen

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG in linux/prctl.h


async def main(spec: dict[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # One that is killed is followed by another soon.
    times = SlotTimes(
        lease=timedelta(seconds=3),
        drain=timedelta(seconds=1),
        look=timedelta(seconds=0.2),
    )
    database = Database(spec["database"])
    print("ready", flush=True)
    try:
        heard = await listen(
            database,
            SmppOptions(**spec["server"]),
            Listening(times=times),
            stop=stop,
            tell=lambda words: print(words, file=sys.stderr, flush=True),
        )
    finally:
        await database.close()
    print(json.dumps(asdict(heard)), flush=True)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
