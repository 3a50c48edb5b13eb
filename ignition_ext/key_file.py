"""Files that hold a secret of their own: made on first use, readable by their owner alone."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex

from ignition_ext.errors import ConfigurationError


def make_key_file(path: Path, content: bytes, *, what: str, mend: str) -> None:
    """Write a new file with mode 0600; of two processes at once, one wins and nobody fails.

    Args:
        path: the file; its folder is made where it is missing.
        content: what it holds.
        what: what the file is, for the message: `the audit key`.
        mend: what the reader can do where it cannot be made.

    Raises:
        ConfigurationError: the file cannot be made.
    """
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # Unlike rename, link never replaces the key that another process made meanwhile.
            os.link(draft, path)
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{what} {path} cannot be made: {error.strerror or error}.", mend=mend
        ) from error
