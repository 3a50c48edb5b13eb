"""What ``template.yaml`` says about a template."""

from __future__ import annotations

from typing import Any

import yaml
from babel import Locale, UnknownLocaleError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.sources import MANIFEST

Scalar = str | int | float | bool | None


class Manifest(BaseModel):
    """The settings of a template; every field may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(default="", max_length=500, description="For people to read.")
    defaults: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Values for recipients whose column is missing, NULL or empty.",
    )
    required: list[str] = Field(
        default_factory=list,
        description="Columns that must not be empty; a recipient without one is not written to.",
    )
    language: str | None = Field(
        default=None,
        description="Language of the files without one in their name; dates and numbers in them"
        " are then written in it for recipients who speak another.",
    )
    inline_css: bool = Field(
        default=True, description="Whether publishing writes the style sheets into the elements."
    )
    test_data: dict[str, Any] = Field(
        default_factory=dict, description="A made-up recipient for previews."
    )

    @field_validator("language")
    @classmethod
    def _known_language(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                Locale.parse(value, sep="-")
            except (ValueError, UnknownLocaleError):
                raise ValueError(f"{value!r} is not a language; write one such as en") from None
        return value


def read_manifest(text: str, *, template: str) -> Manifest:
    """The manifest that a ``template.yaml`` holds; an empty file means the defaults.

    Raises:
        TemplateError: it is no YAML or says something unknown, with its line.
    """
    file = f"{template}/{MANIFEST}"
    try:
        # Dates stay text: BaseLoader would keep numbers as text, too.
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        tree = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it is not YAML"
        line = mark.line + 1 if mark else 0
        raise TemplateError(f"{problem}.", template=template, file=file, line=line) from error
    except RecursionError as error:
        raise TemplateError("it is nested too deeply.", template=template, file=file) from error
    try:
        return Manifest.model_validate({} if document is None else document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(key) for key in first["loc"])
        raise TemplateError(
            f"{place}: {first['msg']}." if place else f"{first['msg']}.",
            template=template,
            file=file,
            line=_line_of(tree, first["loc"]),
            mend=f"It may hold: {', '.join(Manifest.model_fields)}.",
        ) from error


class _Loader(yaml.SafeLoader):
    """YAML without dates: a default is stored as JSON and read by filters as ISO 8601."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _line_of(node: yaml.Node | None, path: tuple[int | str, ...]) -> int:
    line = node.start_mark.line + 1 if node else 0
    for key in path:
        if isinstance(node, yaml.MappingNode):
            found = [(name, value) for name, value in node.value if name.value == str(key)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line
