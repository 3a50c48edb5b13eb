"""Makes a template ready for sending: everything checked, style sheets written into elements."""

from __future__ import annotations

from collections.abc import Mapping

from ignition_ext.templates.rendering.inline import inline_styles
from ignition_ext.templates.rendering.manifest import Manifest
from ignition_ext.templates.rendering.markup import refuse_open_values
from ignition_ext.templates.rendering.outline import Page
from ignition_ext.templates.rendering.references import closure
from ignition_ext.templates.rendering.renderer import compile_file
from ignition_ext.templates.rendering.sandbox import TemplateEnvironment, is_markup
from ignition_ext.templates.rendering.sources import part_of
from ignition_ext.templates.rendering.variables import needed_columns


def compile_bundle(
    name: str, files: Mapping[str, str], manifest: Manifest
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The files that a template needs, ready to render, and the columns it needs.

    Args:
        name: the template's name.
        files: its own files and those of every template that it takes in.
        manifest: its settings.

    Raises:
        TemplateError: with the file and line that are wrong.
    """
    own = [file for file in files if file.startswith(f"{name}/")]
    needed = closure(files, own)
    _check(needed)
    variables = needed_columns(name, needed, manifest.model_dump())
    if manifest.inline_css:
        needed |= _inlined(needed, [file for file in own if part_of(file) == "body.html"])
        _check(needed)
    return needed, variables


def _inlined(files: Mapping[str, str], roots: list[str]) -> dict[str, str]:
    environment = TemplateEnvironment(files)
    pages = {file: Page(environment, files, file) for file in files if is_markup(file)}
    for page in pages.values():
        refuse_open_values(page.source, page.spans, page.tags, page.file)
    return inline_styles(pages, roots)


def _check(files: Mapping[str, str]) -> None:
    environment = TemplateEnvironment(files)
    for file in files:
        compile_file(environment, file)
