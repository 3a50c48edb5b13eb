"""What the template tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ignition_ext.templates.rendering import Renderer, TemplateSources

MakeRenderer = Callable[..., Renderer]


@pytest.fixture
def renderer() -> MakeRenderer:
    """Makes a renderer out of files named without their folder, of a tenant in English."""

    def make(files: Mapping[str, str], **settings: Any) -> Renderer:
        full = {name if "/" in name else f"letter/{name}": text for name, text in files.items()}
        sources = TemplateSources(name="letter", version=1, files=full, settings=settings)
        campaign = {"campaign": {"name": "spring"}, "tenant": {"name": "acme"}}
        return Renderer(sources, locale="en", timezone="UTC", globals=campaign)

    return make
