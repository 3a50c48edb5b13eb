"""Files that a campaign names: inside the folder of its campaign file, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from ignition_ext.errors import ConfigurationError


def resolve_file(base_path: Path, name: str) -> Path:
    """The file that ``name`` means, with links followed.

    Raises:
        ConfigurationError: it leaves the folder, does not exist, or is no plain file.
    """
    path = _inside(base_path, name)
    if not path.is_file():
        raise ConfigurationError(
            f"{path} does not exist." if not path.exists() else f"{path} is not a file.",
            mend=f"Names are taken from {base_path.resolve()}, the campaign file's folder.",
        )
    return path


def find_file(base_path: Path, name: str) -> Path | None:
    """The same, None where it is not there.

    Raises:
        ConfigurationError: it leaves the folder.
    """
    path = _inside(base_path, name)
    return path if path.is_file() else None


def _inside(base_path: Path, name: str) -> Path:
    folder = base_path.resolve()
    path = (folder / name).resolve() if "\0" not in name else folder
    if not path.is_relative_to(folder) or path == folder:
        raise ConfigurationError(
            f"{name!r} is outside of {folder}.",
            mend="Put the file into the campaign file's folder and name it from there.",
        )
    return path
