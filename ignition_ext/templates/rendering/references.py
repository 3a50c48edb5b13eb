"""Which files a file names: what it extends, includes and imports, followed to the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError

from ignition_ext.errors import TemplateError
from ignition_ext.templates.rendering.guard import guard
from ignition_ext.templates.rendering.sandbox import (
    TemplateEnvironment,
    is_markup,
    resolve_name,
    source_text,
)

_NAMING = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One naming of another file; ``name`` is in full: ``template/file``."""

    kind: str
    name: str
    line: int


def parse(environment: TemplateEnvironment, files: Mapping[str, str], file: str) -> nodes.Template:
    """The syntax tree of a file as it was written.

    Raises:
        TemplateError: it cannot be parsed, with file and line.
    """
    try:
        tree = environment.parse(source_text(files, file), file, file)
        # The guard changes the tree it is given; here it only has to agree.
        guard(environment.parse(source_text(files, file), file, file))
    except TemplateSyntaxError as error:
        raise TemplateError(f"{_words(error)}.", file=file, line=error.lineno) from error
    except RecursionError as error:
        raise TemplateError("it is nested too deeply.", file=file) from error
    _check_names(environment, tree, file)
    return tree


def references(tree: nodes.Template, file: str) -> Iterator[Reference]:
    """The files that a parsed file names, in order."""
    for node in tree.find_all(_NAMING):
        assert isinstance(node, _NAMING)
        assert isinstance(node.template, nodes.Const)  # the guard has seen to it
        name = resolve_name(node.template.value, file)
        yield Reference(kind=type(node).__name__.lower(), name=name, line=node.lineno)


def missing_templates(files: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Templates that ``files`` name but do not hold, each with the file and line naming it.

    Raises:
        TemplateError: a file cannot be parsed.
    """
    environment = TemplateEnvironment(files)
    held = {file.partition("/")[0] for file in files}
    missing: dict[str, tuple[str, int]] = {}
    for file in files:
        for reference in references(parse(environment, files, file), file):
            template = reference.name.partition("/")[0]
            if template not in held:
                missing.setdefault(template, (file, reference.line))
    return missing


def closure(files: Mapping[str, str], roots: Iterable[str]) -> dict[str, str]:
    """The files that ``roots`` are made from, themselves included.

    Raises:
        TemplateError: a file cannot be parsed or is not there, a text file is taken into a page,
            or files name each other in a circle.
    """
    walk = _Walk(files)
    for root in roots:
        walk.visit(root, ())
    return {file: files[file] for file in walk.seen}


class _Walk:
    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._environment = TemplateEnvironment(files)
        self.seen: dict[str, None] = {}

    def visit(self, file: str, path: tuple[str, ...]) -> None:
        if file in self.seen:
            return
        for reference in references(parse(self._environment, self._files, file), file):
            fail = partial(TemplateError, file=file, line=reference.line)
            if reference.name not in self._files:
                raise fail(f"there is no file {reference.name!r}.")
            if reference.name in (*path, file):
                raise fail(f"it takes in {reference.name!r}, which takes in it.")
            if is_markup(file) != is_markup(reference.name):
                # Text is not escaped: taken into a page, a value in it would become markup.
                raise fail(
                    f"{reference.name!r} is of another kind.",
                    mend="A page may take in .html and .css files, a text only .txt files.",
                )
            self.visit(reference.name, (*path, file))
        self.seen[file] = None


def _check_names(environment: TemplateEnvironment, tree: nodes.Template, file: str) -> None:
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        known = environment.filters if isinstance(node, nodes.Filter) else environment.tests
        if node.name not in known:
            kind = type(node).__name__.lower()
            offered = ", ".join(sorted(name for name in known if name.isidentifier()))
            raise TemplateError(
                f"there is no {kind} {node.name!r}.",
                file=file,
                line=node.lineno,
                mend=f"Use one of: {offered}.",
            )


def _words(error: TemplateSyntaxError) -> str:
    return (error.message or "it is not a Jinja template").rstrip(".")
