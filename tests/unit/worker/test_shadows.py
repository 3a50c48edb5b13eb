"""When a warm process cannot be what a new interpreter would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ignition_ext.worker.shadows import needs_new_interpreter, shadowed_module


@pytest.mark.parametrize(
    ("wanted", "ours", "found"),
    [
        ({"A": "1"}, {}, None),
        ({"PYTHONPATH": "/x"}, {}, None),
        ({"PYTHONHASHSEED": "0"}, {}, "PYTHONHASHSEED"),
        ({}, {"PYTHONUTF8": "1"}, "PYTHONUTF8"),
        ({"PYTHONUTF8": "1"}, {"PYTHONUTF8": "1"}, None),
        ({"LD_PRELOAD": "x.so"}, {"LD_PRELOAD": "y.so"}, "LD_PRELOAD"),
    ],
    ids=["other", "path", "added", "removed", "same", "library"],
)
def test_variables_that_come_too_late(
    wanted: dict[str, str], ours: dict[str, str], found: str | None
) -> None:
    """Only those that are read at an interpreter's start."""
    assert needs_new_interpreter(wanted, ours) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("jinja2.py", "jinja2"),
        ("jinja2/__init__.py", "jinja2"),
        ("jinja2/notes.txt", None),
        ("jinja2.yaml", None),
        ("own.py", None),
        ("sys.py", None),
        ("os.py", None),
    ],
    ids=["module", "package", "folder", "data", "own", "built-in", "frozen"],
)
def test_modules_that_would_have_been_found_first(
    tmp_path: Path, path: str, found: str | None
) -> None:
    """A folder without code, and what no folder comes before, are no matter."""
    import jinja2  # noqa: F401 - it has to be loaded

    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("")

    assert shadowed_module([str(tmp_path / "none"), str(tmp_path)]) == found


def test_the_folder_that_a_module_was_loaded_from_shadows_nothing() -> None:
    """A checkout of ours as the working directory."""
    import ignition_ext

    root = Path(ignition_ext.__file__).parents[1]

    assert shadowed_module([str(root)]) is None
