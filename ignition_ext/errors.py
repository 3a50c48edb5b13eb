"""Ignition's errors: one class for each thing that a caller does differently.

::

    IgnitionError
    ├── ConfigurationError        a setting, block or file has to be changed first
    │   ├── CampaignFileError     the same, with the line and field of a campaign file
    │   ├── RateCardError         a price list cannot be read, with its line
    │   └── ScheduleError         a schedule that cannot be read or never fires  (ValueError)
    ├── NotFoundError             a tenant, campaign, run … that does not exist  (LookupError)
    ├── ConflictError             someone else changed the thing meanwhile
    ├── TimeLimitReached          a run used its time up; a retry continues it (TimeoutError)
    ├── TemplateError             a template cannot be stored or rendered
    ├── AudienceError             a source of recipients cannot be read
    ├── DatabaseError             the database is away, locked, or at another revision
    ├── AuditError                the audit chain does not hold
    ├── TokenError                a link or address that we did not sign         (ValueError)
    └── ChannelError              a server refused us, not a recipient
        ├── ConnectFailed         not reachable, TLS not trusted     (ConnectionError)
        ├── AuthenticationFailed  user or password refused
        ├── Throttled             the server asks to come back later
        │   └── MustWait          we leave it alone ourselves: its circuit is open, its binds used
        │       └── BudgetExhausted   no money is left for another message
        └── ProtocolViolation     the server answers nonsense

A message names the thing, the place and the mend. Results for single recipients are values
(:class:`ignition_ext.values.Outcome`), never exceptions.
"""

from __future__ import annotations

from datetime import timedelta


class IgnitionError(Exception):
    """Root of all errors that Ignition raises on purpose.

    Attributes:
        mend: what the reader can do about it, one sentence; empty where nothing can be said.
    """

    def __init__(self, message: str, *, mend: str = "") -> None:
        self.message = _sentence(message)
        self.mend = mend
        super().__init__(f"{self.message} {mend}".strip())


def _sentence(message: str) -> str:
    """With one full stop at its end: a server's or library's words bring none, or their own."""
    if message.endswith("..") and not message.endswith("..."):
        return message[:-1]
    return message if not message or message[-1] in ".!?…\n" else f"{message}."


class ConfigurationError(IgnitionError):
    """A setting, block or file has to be changed before this can work."""


class CampaignFileError(ConfigurationError):
    """A campaign file is wrong; ``line`` is from 1, ``field`` is dotted: ``schedules.0.cron``."""

    def __init__(
        self, message: str, *, path: str, line: int = 0, field: str = "", mend: str = ""
    ) -> None:
        self.path, self.line, self.field = path, line, field
        place = f"{path}:{line}" if line else path
        super().__init__(f"{place}: {f'{field}: ' if field else ''}{message}", mend=mend)


class RateCardError(ConfigurationError):
    """A price list cannot be read; ``line`` is from 1, 0 where it is no single one."""

    def __init__(self, message: str, *, path: str = "", line: int = 0, mend: str = "") -> None:
        self.path, self.line = path, line
        place = ":".join(str(part) for part in (path, line or "") if part)
        super().__init__(f"{place}: {message}" if place else message, mend=mend)


class ScheduleError(ConfigurationError, ValueError):
    """A schedule cannot be read, or would never fire; ``field`` is the part that is wrong."""

    def __init__(self, message: str, *, field: str = "", mend: str = "") -> None:
        self.field = field
        super().__init__(f"{field}: {message}" if field else message, mend=mend)


class NotFoundError(IgnitionError, LookupError):
    """The thing that was named does not exist."""


class ConflictError(IgnitionError):
    """The thing was changed by someone else in between; read it again and repeat."""


class TimeLimitReached(IgnitionError, TimeoutError):
    """A run took as long as its campaign allows; what was not sent stays sendable."""


class TemplateError(IgnitionError):
    """A template cannot be stored or rendered; ``line`` counts from 1, 0 where unknown."""

    def __init__(
        self, message: str, *, template: str = "", file: str = "", line: int = 0, mend: str = ""
    ) -> None:
        self.template, self.file, self.line = template, file, line
        place = ":".join(str(part) for part in (file or template, line or "") if part)
        super().__init__(f"{place}: {message}" if place else message, mend=mend)


class AudienceError(IgnitionError):
    """A source of recipients cannot be read at all; single bad rows go to the rejects instead."""

    def __init__(self, message: str, *, path: str = "", line: int = 0, mend: str = "") -> None:
        self.path, self.line = path, line
        place = ":".join(str(part) for part in (path, line or "") if part)
        super().__init__(f"{place}: {message}" if place else message, mend=mend)


class DatabaseError(IgnitionError):
    """The database is away, locked, or at another revision than this release."""


class AuditError(IgnitionError):
    """The audit chain does not hold; ``tenant`` and ``seq`` name its first wrong row."""

    def __init__(self, message: str, *, tenant: str = "", seq: int = 0, mend: str = "") -> None:
        self.tenant, self.seq = tenant, seq
        super().__init__(message, mend=mend)


class TokenError(IgnitionError, ValueError):
    """A token is not one of ours: tampered with, cut short, for another purpose, or of a lost key.

    The message never says which, because whoever sends the token reads it.
    """


class ChannelError(IgnitionError):
    """A server refused us as a whole.

    Attributes:
        server: ``host:port``.
        code: the reply code as the protocol writes it, empty without a reply.
        temporary: whether trying again later can help without a change.
    """

    def __init__(
        self,
        message: str,
        *,
        server: str = "",
        code: str = "",
        temporary: bool = True,
        mend: str = "",
    ) -> None:
        self.server, self.code, self.temporary = server, code, temporary
        super().__init__(f"{server}: {message}" if server else message, mend=mend)


class ConnectFailed(ChannelError, ConnectionError):
    """No connection: nobody listens, the name is unknown, TLS is not trusted."""


class AuthenticationFailed(ChannelError):
    """User, password or system id refused; trying again would only lock the account."""

    def __init__(
        self,
        message: str,
        *,
        server: str = "",
        code: str = "",
        temporary: bool = False,
        mend: str = "",
    ) -> None:
        super().__init__(message, server=server, code=code, temporary=temporary, mend=mend)


class Throttled(ChannelError):
    """The server asks to come back later."""

    def __init__(
        self,
        message: str,
        *,
        server: str = "",
        code: str = "",
        retry_after: timedelta | None = None,
        mend: str = "",
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, server=server, code=code, temporary=True, mend=mend)


class MustWait(Throttled):
    """Others of ours have the server's binds, or its circuit is open; nobody was asked.

    Whoever meets it gives its messages back and comes again after ``retry_after``.
    """


class BudgetExhausted(MustWait):
    """No money is left for another message; it comes again when the budget allows."""


class ProtocolViolation(ChannelError):
    """The server answers something that the protocol does not allow."""
