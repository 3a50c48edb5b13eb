"""A mailbox over IMAP (RFC 9051, 3501): what lies there, taken out only when told to; blocking.

One connection with one folder open. Mails are read without being marked as read, and put away one
group at a time: moved (RFC 6851, or copied and expunged), or flagged where no folder is named.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError

from ignition_ext.errors import AuthenticationFailed, ChannelError, ConnectFailed

ImapSecurity = Literal["tls", "starttls", "none"]
DEFAULT_PORTS: Mapping[ImapSecurity, int] = {"tls": 993, "starttls": 143, "none": 143}
TAKEN_FLAG = "IgnitionTaken"
"""Says that a mail is stored, where mails stay in their folder."""
MAX_OCTETS = 1024 * 1024
"""Of each mail that is fetched: a report stands at its beginning, what it returns may be huge."""
IDLE_SECONDS = 9 * 60
"""How long one IDLE lasts: servers end it after 30 minutes (RFC 2177), and gateways between
forget connections that were silent for 10."""
_SLICE_SECONDS = 1.0
"""How soon a wait sees that it is to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapOptions:
    """Where a mailbox is, and how mails are put away there.

    Attributes:
        processed_folder: takes mails that are stored; empty to flag them where they are.
    """

    host: str
    port: int
    security: ImapSecurity
    verify: bool = True
    username: str
    password: str = field(repr=False)
    folder: str = "INBOX"
    processed_folder: str = ""
    timeout: float = 60.0

    @property
    def server(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The mailbox, for people."""
        return f"imap {self.username}@{self.server}/{self.folder}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxOffer:
    """What a mailbox turned out to be.

    Attributes:
        capabilities: as the server announces them.
        mails: in the folder, those put away there included.
        waiting: not taken yet.
    """

    capabilities: Sequence[str]
    mails: int
    waiting: int


class ImapMailbox:
    """A connection to one folder; a context manager. Not for two threads at once."""

    def __init__(self, options: ImapOptions) -> None:
        self._options = options
        self._client: IMAPClient | None = None
        self._flag = TAKEN_FLAG
        self._target = ""

    def __enter__(self) -> Self:
        """Connect, log in, open the folder.

        Raises:
            ChannelError: what went wrong, where, and the mend.
        """
        with self._told():
            self._client = self._connect()
        try:
            self._log_in()
            self._open_folder()
        except BaseException:
            self._client.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._client is not None
        with suppress(IMAPClientError, OSError):
            self._client.logout()

    def waiting(self) -> Sequence[int]:
        """The mails that were not put away, oldest first, by their UID."""
        unseen = "UNSEEN" if self._flag == "\\Seen" else f"UNKEYWORD {self._flag}"
        with self._told() as client:
            return sorted(client.search(f"{unseen} UNDELETED"))

    def fetch(self, keys: Sequence[int]) -> Mapping[int, bytes]:
        """The beginnings of some mails; those that are gone meanwhile are missing."""
        if not keys:
            return {}
        with self._told() as client:
            found = client.fetch(keys, [f"BODY.PEEK[]<0.{MAX_OCTETS}>"])
        return {
            key: bytes(value)
            for key, items in found.items()
            for name, value in items.items()
            if name.startswith(b"BODY[]") and value is not None
        }

    def put_away(self, keys: Sequence[int]) -> None:
        """Take mails out of those that wait; call it when they are stored elsewhere."""
        if not keys:
            return
        with self._told() as client:
            if not self._target:
                client.add_flags(keys, [self._flag], silent=True)
            elif client.has_capability("MOVE"):
                client.move(keys, self._target)
            else:
                client.copy(keys, self._target)
                client.delete_messages(keys, silent=True)
                if client.has_capability("UIDPLUS"):
                    client.uid_expunge(keys)
                # Without UIDPLUS an EXPUNGE would take away what others have deleted as well.

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        """Wait until the server tells of something, the time is over, or ``stopped`` is set."""
        with self._told() as client:
            if not client.has_capability("IDLE"):
                stopped.wait(seconds)
                client.noop()
                return
            client.idle()
            left = min(seconds, IDLE_SECONDS)
            while left > 0 and not stopped.is_set():
                if client.idle_check(timeout=min(_SLICE_SECONDS, left)):
                    break
                left -= _SLICE_SECONDS
            client.idle_done()

    def offer(self) -> MailboxOffer:
        """What the server and the folder are."""
        with self._told() as client:
            capabilities = sorted(name.decode("ascii", "replace") for name in client.capabilities())
            mails = len(client.search("ALL"))
        return MailboxOffer(capabilities=capabilities, mails=mails, waiting=len(self.waiting()))

    def _connect(self) -> IMAPClient:
        options = self._options
        context = ssl.create_default_context()
        if not options.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        is_tls = options.security == "tls"
        client = IMAPClient(
            options.host,
            port=options.port,
            ssl=is_tls,
            ssl_context=context if is_tls else None,
            timeout=options.timeout,
        )
        if options.security == "starttls":
            try:
                client.starttls(ssl_context=context)
            except BaseException:
                client.shutdown()
                raise
        return client

    def _log_in(self) -> None:
        with self._told() as client:
            try:
                client.login(self._options.username, self._options.password)
            except LoginError as error:
                raise AuthenticationFailed(
                    f"the login of {self._options.username} was refused: {error}",
                    server=self._options.server,
                    mend="Correct user name and password in the block; many providers want an"
                    " app password, and IMAP switched on for the mailbox.",
                ) from error

    def _open_folder(self) -> None:
        options = self._options
        with self._told() as client:
            if options.processed_folder:
                self._target = _with_prefix(client, options.processed_folder)
                if not client.folder_exists(self._target):
                    client.create_folder(self._target)
            found = client.select_folder(options.folder)
        permanent: Sequence[Any] = found.get(b"PERMANENTFLAGS", ())
        takes_any = b"\\*" in permanent or TAKEN_FLAG.encode() in permanent
        self._flag = TAKEN_FLAG if takes_any else "\\Seen"

    @contextmanager
    def _told(self) -> Iterator[IMAPClient]:
        """The client; what it raises becomes an error with the mend."""
        try:
            yield self._client
        except ssl.SSLError as error:
            raise ConnectFailed(
                f"TLS failed: {error}",
                server=self._options.server,
                mend="Check host, port and security in the block, and the server's certificate.",
            ) from error
        except (OSError, IMAPClientAbortError) as error:
            raise ConnectFailed(
                f"the connection failed: {error}",
                server=self._options.server,
                mend="Check host and port in the block, and that the server is reachable.",
            ) from error
        except IMAPClientError as error:
            raise ChannelError(
                f"the server refuses: {error}",
                server=self._options.server,
                mend="Check that the folders in the block exist, and what the user may do there.",
            ) from error


def _with_prefix(client: IMAPClient, folder: str) -> str:
    """The folder below the user's own namespace: ``INBOX.Processed`` on some servers."""
    if not client.has_capability("NAMESPACE"):
        return folder
    personal = client.namespace().personal
    if not personal:
        return folder
    prefix, separator = personal[0]
    if folder.startswith(prefix):
        return folder
    return f"{prefix}{folder.replace('/', separator or '/')}"
