"""How fast a CSV file becomes an audience, and in how much memory.

``python benchmarks/audience_import.py [--url URL] [--rows 100000,1000000]``

Generates files with addresses and numbers that are all different, one row in a hundred bad and one
in fifty a duplicate, and imports each in a process of its own. Without ``--url`` it uses a fresh
SQLite file and then a PostgreSQL server of its own. Prints one JSON line for each import: rows,
seconds, rows a second, peak RSS in MB. Memory is constant when the peak does not grow with rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from ignition_ext.audience import import_csv
from ignition_ext.database import Database
from ignition_ext.devtools.postgres import postgres_server
from ignition_ext.schema import upgrade
from ignition_ext.tenants import create_tenant

BAD_EVERY, DUPLICATE_EVERY = 100, 50


def generate(path: Path, rows: int) -> None:
    """A file of ``rows`` rows; German numbers, three domains, names with accents."""
    domains = ("example.com", "example.org", "example.net")
    with path.open("w", encoding="utf-8") as file:
        file.write("email,phone,first_name,last_name,locale,timezone,city,account_id\n")
        for number in range(rows):
            person = number - 1 if number % DUPLICATE_EVERY == 1 else number
            at = " at " if number % BAD_EVERY == 7 else "@"
            phone = "" if number % BAD_EVERY == 7 else f"+49151{10_000_000 + person:08d}"
            file.write(
                f"zoe.mueller{person}{at}{domains[person % 3]},{phone},Zoë,Müller,de,"
                f"Europe/Berlin,Köln,AC-{person:08d}\n"
            )


async def measure(url: str, path: Path, rows: int) -> dict[str, object]:
    """One import, timed."""
    database = Database(url)
    await upgrade(database)
    name = f"bench-{uuid4().hex[:8]}"
    await create_tenant(database, name=name, region="DE", actor="bench")
    began = time.perf_counter()
    result = await import_csv(
        database, tenant=name, name="people", path=path, rejects=None, actor="bench"
    )
    seconds = time.perf_counter() - began
    await database.close()
    return {
        "database": database.dialect,
        "rows": rows,
        "imported": result.imported,
        "rejected": result.rejected,
        "duplicates": result.duplicates,
        "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def run(url: str, rows: list[int], folder: Path) -> None:
    """Each size in a process of its own, so that its peak is its own."""
    for count in rows:
        path = folder / f"{count}.csv"
        if not path.exists():
            generate(path, count)
        subprocess.run([sys.executable, __file__, "--one", url, str(path), str(count)], check=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--rows", default="100000,1000000")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        url, path, rows = given.one
        print(json.dumps(asyncio.run(measure(url, Path(path), int(rows)))))
        return
    sizes = [int(rows) for rows in given.rows.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given.url:
            run(given.url, sizes, folder)
            return
        run(f"sqlite:///{folder / 'bench.db'}", sizes, folder)
        with postgres_server() as url:
            run(url, sizes, folder)


if __name__ == "__main__":
    main()
