"""Two parsers that read what was composed: Python's, and npm's mailparser, which shares nothing."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.devtools.referee import find_program, install_referee

# Reads one JSON line {"file": …} after the other and answers each with what mailparser sees.
_PROGRAM = """
const { simpleParser } = require("mailparser");
const lines = require("readline").createInterface({ input: process.stdin });
const people = (field) => (field ? field.value : []).map((p) => [p.name, p.address]);
lines.on("line", async (line) => {
  const mail = await simpleParser(Buffer.from(JSON.parse(line), "base64"), {
    skipImageLinks: true, skipTextToHtml: true, skipHtmlToText: true,
  });
  process.stdout.write(JSON.stringify({
    subject: mail.subject, from: people(mail.from), to: people(mail.to),
    replyTo: people(mail.replyTo), text: mail.text, html: mail.html || null,
    messageId: mail.messageId, date: mail.date,
    attachments: mail.attachments.map((a) => ({
      name: a.filename, type: a.contentType, cid: a.cid || null, related: a.related,
      content: a.content.toString("base64"),
    })),
    headers: Object.fromEntries(mail.headerLines.map((h) => [h.key, h.line])),
  }) + "\\n");
});
"""


@pytest.fixture(scope="session")
def mailparser() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """What npm's mailparser reads out of a message."""
    with subprocess.Popen(
        [find_program("node"), "-e", _PROGRAM],
        cwd=install_referee(Path(__file__).parents[2] / "referee"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def parse(content: bytes) -> dict[str, Any]:
            stdin.write(json.dumps(base64.b64encode(content).decode()) + "\n")
            stdin.flush()
            parsed: dict[str, Any] = json.loads(stdout.readline())
            return parsed

        yield parse
        stdin.close()
