"""Fails when a module outgrew its room: 400 lines for code, 500 for tests.

The list of exceptions may only shrink.
"""

from __future__ import annotations

import sys
from pathlib import Path

CODE, TESTS = 400, 500
EXCEPTIONS: dict[str, int] = {}
GENERATED = ("ignition_ext/migrations/versions/",)

too_long = []
for room in ("flows", "tasks", "blocks", "ignition_ext", "benchmarks", "infra", "tests"):
    for path in sorted(Path(room).rglob("*.py")):
        name = path.as_posix()
        limit = EXCEPTIONS.get(name, TESTS if room == "tests" else CODE)
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > limit and not name.startswith(GENERATED):
            too_long.append(f"{name}: {lines} lines, {limit} allowed. Split it by ideas.")
sys.exit("\n".join(too_long) or None)
