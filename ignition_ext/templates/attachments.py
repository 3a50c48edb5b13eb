"""Files that go with a message: read once, checked, and turned into MIME parts once."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ignition_ext.errors import ConfigurationError
from ignition_ext.templates.mime_headers import HeaderError, checked, mime_field
from ignition_ext.templates.mime_text import base64_lines

# The large mailbox providers take 25 MB a message; base64 adds 37 % to it, and the text needs room.
MAX_TOTAL_BYTES = 18 * 1024 * 1024
# Longer names are cut off by file systems, and by some mail programs in the middle of a character.
MAX_NAME_BYTES = 255
# What Gmail and Outlook refuse whatever it holds: the whole message would bounce.
REFUSED_SUFFIXES = frozenset(
    {
        *(".ade", ".adp", ".apk", ".appx", ".bat", ".cab", ".chm", ".cmd", ".com", ".cpl"),
        *(".dll", ".dmg", ".exe", ".hta", ".ins", ".iso", ".isp", ".jar", ".js", ".jse"),
        *(".lib", ".lnk", ".mde", ".msc", ".msi", ".msix", ".msp", ".mst", ".nsh", ".pif"),
        *(".ps1", ".scr", ".sct", ".shb", ".sys", ".vb", ".vbe", ".vbs", ".vhd", ".vxd"),
        *(".wsc", ".wsf", ".wsh"),
    }
)

# The machine's own mime.types is left out: a message must not depend on who sends it.
_TYPES = mimetypes.MimeTypes(filenames=())
_MORE_TYPES = {
    ".ics": "text/calendar",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".vcf": "text/vcard",
    ".md": "text/markdown",
}
# How files of these types begin. A name that lies about its content shows as a broken image.
_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "application/pdf": (b"%PDF-",),
    "application/zip": (b"PK\x03\x04", b"PK\x05\x06"),
}
_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file in memory; ``content_type`` None takes it from the name.

    Raises:
        ConfigurationError: a name that cannot stand in a header, a type that mailboxes refuse, or
            content that is not of the type that the name says.
    """

    name: str
    content: bytes
    content_type: str | None = None

    def __post_init__(self) -> None:
        try:
            checked(self.name, f"the attachment's name {self.name!r}")
        except HeaderError as error:
            raise ConfigurationError(f"{error}.", mend="Rename the file.") from error
        if not self.name.strip() or re.search(r"[/\\]", self.name) or self.name in {".", ".."}:
            raise ConfigurationError(
                f"{self.name!r} is not a file name.", mend="Give a name without folders."
            )
        if len(self.name.encode()) > MAX_NAME_BYTES:
            raise ConfigurationError(
                f"The attachment's name has more than {MAX_NAME_BYTES} bytes: {self.name[:40]!r}….",
                mend="Rename the file.",
            )
        self._check_type()

    def _check_type(self) -> None:
        if Path(self.name).suffix.lower() in REFUSED_SUFFIXES:
            raise ConfigurationError(
                f"{self.name}: mailboxes refuse files of this kind.",
                mend="Put it on a web page and link to it.",
            )
        if not _TYPE.fullmatch(self.type):
            raise ConfigurationError(f"{self.name}: {self.type!r} is not a MIME type.")
        beginnings = _BEGINNINGS.get(self.type)
        if beginnings and not self.content.startswith(beginnings):
            raise ConfigurationError(
                f"{self.name}: its content is not {self.type}.",
                mend="Give the file the extension of what it holds.",
            )

    @property
    def type(self) -> str:
        """The MIME type, in small letters."""
        if self.content_type is not None:
            return self.content_type.lower()
        suffix = Path(self.name).suffix.lower()
        if suffix in _MORE_TYPES:
            return _MORE_TYPES[suffix]
        guessed, encoding = _TYPES.guess_type(f"x{suffix}")
        # A message in a message may not be base64 (RFC 2046 section 5.2.1): send it as a file.
        if guessed is None or encoding or guessed.startswith(("message/", "multipart/")):
            return "application/octet-stream"
        return guessed


def load_attachment(path: Path) -> Attachment:
    """Read a file.

    Raises:
        ConfigurationError: not readable, too large, or of a kind that may not be sent.
    """
    try:
        if path.stat().st_size > MAX_TOTAL_BYTES:
            raise _too_large(f"{path} has {path.stat().st_size} bytes")
        return Attachment(name=path.name, content=path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be attached: {error.strerror}.",
            mend="Correct the name under attachments, or put the file there.",
        ) from error


def check_total(attachments: Sequence[Attachment]) -> None:
    """Refuse more than mailboxes take.

    Raises:
        ConfigurationError: together above :data:`MAX_TOTAL_BYTES`.
    """
    total = sum(len(attachment.content) for attachment in attachments)
    if total > MAX_TOTAL_BYTES:
        raise _too_large(f"the attachments have {total} bytes together")


def _too_large(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what}; mailboxes take {MAX_TOTAL_BYTES}.", mend="Put it on a web page and link to it."
    )


def part(attachment: Attachment, *, content_id: str = "") -> bytes:
    """The MIME part, headers and base64 body, without the boundary; inline with a content id."""
    disposition = "inline" if content_id else "attachment"
    head = [
        mime_field("Content-Type", attachment.type, _type_parameters(attachment)),
        b"Content-Transfer-Encoding: base64\r\n",
        mime_field("Content-Disposition", disposition, {"filename": attachment.name}),
    ]
    if content_id:
        head.append(f"Content-ID: <{content_id}>\r\n".encode())
    return b"".join(head) + b"\r\n" + base64_lines(attachment.content)


def _type_parameters(attachment: Attachment) -> dict[str, str]:
    if not attachment.type.startswith("text/"):
        return {}
    try:
        attachment.content.decode()
    except UnicodeDecodeError:
        return {}
    return {"charset": "utf-8"}
