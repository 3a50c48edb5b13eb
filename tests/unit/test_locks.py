"""The lock files, as pip reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_pinned_with_extras_is_pinned_without_them_too(name: str) -> None:
    """Or pip refuses the file once there is a release that is newer than the pin."""
    lock = (ROOT / name).read_text(encoding="utf-8")
    with_extras = re.findall(r"^([a-z0-9-]+)\[.+\](==\S+)", lock, re.MULTILINE)

    assert with_extras
    for package, version in with_extras:
        assert f"\n{package}{version} " in lock


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_no_address(name: str) -> None:
    """Whoever installs says where from."""
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")
