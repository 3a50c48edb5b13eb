"""A mail server of its own process that writes down what it takes, and misbehaves as it is told.

``python far_smtp.py SETTINGS.json RECORD`` prints its port, and ends when its stdin does. Each
message that it takes becomes one JSON line of the record before the sender is told anything:
``{"to": …, "id": …, "told": …}``, ``told`` being whether a 250 was to follow. A line with
``fault`` notes what it did wrong on purpose, one with ``wrong`` what the client may not do.

A rule of the settings: ``{"stage": …, "do": …, "every": N, "times": N, "to": REGEX}``. Stages are
CONNECT EHLO STARTTLS MAIL RCPT DATA BODY (before the dot) DOT QUIT; ``do`` is the text of a reply
(after 421 it hangs up), or one of hang-up, keep-and-hang-up, reset, silent, trickle.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import socketserver
import ssl
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

RECEIVE_BUFFER = 8192
"""Small, so that a server that stops reading is felt within one large message."""
TRICKLE_SECONDS = 1.0
EARLY_SECONDS = 0.02
"""What a client writes within this time after a command was not held back for the reply."""


class Ended(Exception):
    """The session is over."""


class Book:
    """The record, and which rule is due; shared by all sessions."""

    def __init__(self, settings: dict[str, Any], record: Path) -> None:
        self.settings = settings
        self._file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._lock = threading.Lock()
        self._rules = [{"seen": 0, **rule} for rule in settings.get("rules", ())]
        self.over = threading.Event()

    def write(self, **line: Any) -> None:
        os.write(self._file, (json.dumps(line) + "\n").encode())

    def due(self, stage: str, to: str) -> str:
        """What to do wrong now, empty for nothing."""
        with self._lock:
            for rule in self._rules:
                if rule["stage"] != stage or not re.search(rule.get("to", ""), to):
                    continue
                rule["seen"] += 1
                turn, rest = divmod(rule["seen"], rule.get("every", 1))
                if rest == 0 and turn <= rule.get("times", sys.maxsize):
                    self.write(fault=rule["do"], stage=stage, rcpt=to)
                    return str(rule["do"])
        return ""


class Session(socketserver.BaseRequestHandler):
    """One connection, one thread."""

    server: Server

    def handle(self) -> None:
        self.book = self.server.book
        self.link: Any = self.request
        self.buffer = b""
        self.to = ""
        self.secured = self.strict = False
        with suppress(Ended, OSError):
            self.talk()
        with suppress(OSError):
            self.link.close()

    def talk(self) -> None:
        self.reply("CONNECT", "220 far.example.com ESMTP")
        while True:
            line = self.line()
            self.hold_back(line)
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    self.reply("EHLO", self.offer())
                case "STARTTLS":
                    self.reply("STARTTLS", "220 go ahead")
                    self.link = self.server.context.wrap_socket(self.link, server_side=True)
                    self.buffer, self.secured = b"", True
                    self.strict = self.book.settings.get("withdraws", False)
                case "MAIL" | "RSET" | "NOOP":
                    self.reply(verb.upper(), "250 Ok")
                case "RCPT":
                    self.to = rest.partition("<")[2].partition(">")[0]
                    if self.reply("RCPT", "250 Ok"):
                        self.to = ""
                case "DATA" if not self.to:
                    self.write("554 no valid recipients")
                case "DATA":
                    if not self.reply("DATA", "354 go on"):
                        self.body()
                    self.to = ""
                case "QUIT":
                    self.reply("QUIT", "221 bye")
                    return
                case _:
                    self.write("502 not known")

    def offer(self) -> str:
        keywords = ["8BITMIME", "SMTPUTF8"]
        if self.server.context is not None and not self.secured:
            keywords.append("STARTTLS")
        if not (self.secured and self.book.settings.get("withdraws")):
            keywords.append("PIPELINING")
        return "\r\n".join(
            [
                "250-far.example.com",
                *(f"250-{word}" for word in keywords[:-1]),
                f"250 {keywords[-1]}",
            ]
        )

    def body(self) -> None:
        if do := self.book.due("BODY", self.to):
            self.line()
            self.misbehave(do)
        message_id = ""
        while (line := self.line()) != ".":
            if line.lower().startswith("message-id:"):
                message_id = line.partition(":")[2].strip()
        self.hold_back("the final dot")
        do = self.book.due("DOT", self.to)
        taken = do in ("", "keep-and-hang-up", "trickle")
        if taken:
            self.book.write(to=self.to, id=message_id, told=not do)
        if do:
            self.misbehave(do, "250 2.0.0 Ok: queued as FAR1")
        else:
            if delay := self.book.settings.get("delay"):
                self.book.over.wait(delay)
            self.write("250 2.0.0 Ok: queued as FAR1")

    def reply(self, stage: str, usual: str) -> bool:
        """Answer a command; True when the answer was another than the usual."""
        if do := self.book.due(stage, self.to):
            self.misbehave(do, usual)
            return do != "trickle"
        self.write(usual)
        return False

    def misbehave(self, do: str, usual: str = "") -> None:
        match do:
            case "hang-up" | "keep-and-hang-up":
                raise Ended
            case "reset":
                self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise Ended
            case "silent":
                self.book.over.wait()
                raise Ended
            case "trickle":
                for octet in f"{usual}\r\n".encode():
                    self.link.sendall(bytes([octet]))
                    self.book.over.wait(TRICKLE_SECONDS)
            case _:
                self.write(do)
                if do.startswith("421"):
                    raise Ended

    def hold_back(self, what: str) -> None:
        """Whoever may not pipeline waits for the reply, which has not been written yet."""
        early = self.strict and (
            self.buffer
            or self.link.pending()
            or select.select([self.link], [], [], EARLY_SECONDS)[0]
        )
        if early:
            self.book.write(wrong=f"bytes behind {what}")

    def write(self, text: str) -> None:
        self.link.sendall(f"{text}\r\n".encode())

    def line(self) -> str:
        while b"\r\n" not in self.buffer:
            if not (octets := self.link.recv(65536)):
                raise Ended
            self.buffer += octets
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("utf-8", "replace")


class Server(socketserver.ThreadingTCPServer):
    """Listens on loopback."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, book: Book) -> None:
        self.book = book
        self.context = None
        if certificate := book.settings.get("certificate"):
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.load_cert_chain(certificate)
        super().__init__(("127.0.0.1", 0), Session, bind_and_activate=False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.server_bind()
        self.server_activate()


def main(settings: str, record: str) -> None:
    book = Book(json.loads(Path(settings).read_text()), Path(record))
    server = Server(book)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()  # its end is the sign to end
    book.over.set()


if __name__ == "__main__":
    main(*sys.argv[1:])
