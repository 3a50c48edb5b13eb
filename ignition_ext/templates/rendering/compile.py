"""Makes a template ready for sending: everything checked, style sheets written into elements."""

from __future__ import annotations

from collections.abc import Mapping

from ignition_ext.templates.rendering.manifest import Manifest
from ignition_ext.templates.rendering.references import closure
from ignition_ext.templates.rendering.renderer import compile_file
from ignition_ext.templates.rendering.sandbox import TemplateEnvironment
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
    environment = TemplateEnvironment(needed)
    for file in needed:
        compile_file(environment, file)
    return needed, needed_columns(name, needed, manifest.model_dump())
