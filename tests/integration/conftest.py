"""Referees: decoders written by others, which judge what the channels put on the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from ignition_ext.devtools.referee import install_referee


@pytest.fixture(scope="session")
def referee() -> Path:
    """The folder of the node referees, with their packages."""
    return install_referee(Path(__file__).parents[1] / "referee")
