"""Pins, beside each `name[extra]==…` of a lock file, the bare `name` too.

pip in hash mode takes a dependency that is asked for without extras for another requirement than
the one with them, and tries its newest release first: it then refuses the whole file, as soon as
that release is not the pinned one. uv writes only the line with extras.

usage: python infra/pin_bases.py LOCK…
"""

import re
import sys
from pathlib import Path

ENTRY = re.compile(r"(?m)^(?=[A-Za-z0-9])")
WITH_EXTRAS = re.compile(r"([A-Za-z0-9._-]+)\[[^\]]+\](==\S+[^\n]*\\)\n")


def pinned(lock: str) -> str:
    """The lock file with the additional pins; unchanged where they stand in it already."""
    entries: list[str] = []
    for entry in ENTRY.split(lock):
        found = WITH_EXTRAS.match(entry)
        if found and not any(one.startswith(f"{found[1]}==") for one in entries):
            hashes = re.findall(r"--hash=\S+", entry)
            lines = " \\\n".join(f"    {one}" for one in hashes)
            entries.append(f"{found[1]}{found[2]}\n{lines}\n")
        entries.append(entry)
    return "".join(entries)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(pinned(path.read_text(encoding="utf-8")), encoding="utf-8")
