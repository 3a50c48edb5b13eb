"""``ignition bounces listen`` as the process that it is."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 120.0
"""Python starts, opens the database and looks; a loaded machine takes its time for each."""


@pytest.mark.timeout(300)
async def test_it_listens_until_it_is_told_to_stop(
    post: Any, make_dsn: Any, tmp_path: Path, database_url: str
) -> None:
    """A mail is settled as it comes; SIGTERM ends it with success and nothing on stdout."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    run, ids = await post.sent("jo@example.org")
    raw = make_dsn(to=post.envelope_from(ids["jo@example.org"]), recipient="jo@example.org")
    (tmp_path / "mail" / "new" / "1.mx").write_bytes(raw)
    command = [str(Path(sys.executable).with_name("ignition")), "bounces", "listen"]
    process = await asyncio.create_subprocess_exec(
        *(*command, "--maildir", str(tmp_path / "mail"), "--lmtp", "127.0.0.1:0"),
        env=os.environ | {"IGNITION_DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        end = asyncio.get_running_loop().time() + PATIENCE
        while await post.states(run) != {"jo@example.org": "bounced"}:
            assert asyncio.get_running_loop().time() < end
            assert process.returncode is None
            await asyncio.sleep(0.2)
        process.terminate()
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert (process.returncode, out) == (0, b"")
    assert b"LMTP at 127.0.0.1:" in err
    assert b"1 bounce, 1 addresses suppressed" in err
