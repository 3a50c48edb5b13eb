"""Files that a campaign names: inside the folder of its campaign file, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from ignition_ext.errors import ConfigurationError

MAX_ATTACHMENT_BYTES = 25 * 1024 * 1024
"""What large mail providers still take; base64 makes a third more of it on the wire."""


def resolve_file(base_path: Path, name: str) -> Path:
    """The file that ``name`` means, with links followed.

    Raises:
        ConfigurationError: it leaves the folder, does not exist, or is no plain file.
    """
    folder = base_path.resolve()
    path = (folder / name).resolve() if "\0" not in name else folder
    if not path.is_relative_to(folder) or path == folder:
        raise ConfigurationError(
            f"{name!r} is outside of {folder}.",
            mend="Put the file into the campaign file's folder and name it from there.",
        )
    if not path.is_file():
        raise ConfigurationError(
            f"{path} does not exist." if not path.exists() else f"{path} is not a file.",
            mend=f"Names are taken from {folder}, the campaign file's folder.",
        )
    return path


def resolve_attachment(base_path: Path, name: str) -> Path:
    """The same for an attachment, which must also be small enough to be mailed.

    Raises:
        ConfigurationError: as :func:`resolve_file`, or it is too large.
    """
    path = resolve_file(base_path, name)
    size = path.stat().st_size
    if size > MAX_ATTACHMENT_BYTES:
        raise ConfigurationError(
            f"{path} has {size} bytes, an attachment at most {MAX_ATTACHMENT_BYTES}.",
            mend="Put a link to it into the template instead.",
        )
    return path
