"""Folds a file and what it is made from into one template, so that sending looks nothing up.

Jinja puts a layout, its blocks and imported macros together anew for each message; for a letter
with a layout and macros that takes longer than all of its values. Here it happens once, in the
syntax tree. What is folded says the same as the file does; where Jinja's rules about names would
have to be looked at more closely, a file is not folded and Jinja does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.meta import find_undeclared_variables

from ignition_ext.templates.rendering.sandbox import (
    TemplateEnvironment,
    is_markup,
    resolve_name,
    source_text,
)

_NAMING = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
_BINDING = (
    *(nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.CallBlock),
    *(nodes.Import, nodes.FromImport),
)
"""What gives names to the nodes behind it."""

_PRELUDE = (nodes.Assign, nodes.Import, nodes.FromImport)
"""What a file may do before its layout is shown."""

_Node = TypeVar("_Node", bound=nodes.Node)


class _CannotFold(Exception):
    """A file that Jinja has to put together itself."""


def fold(environment: TemplateEnvironment, files: Mapping[str, str], file: str) -> Template | None:
    """The file with its layout, blocks, includes and macros in their places; None if it cannot be.

    It shows what the file shows, and fails for what the file fails for; only the place that an
    error names is not the file's.
    """
    try:
        tree = _Folding(environment, files, file).fold()
        code = environment.compile(tree, file, file)
    except (_CannotFold, TemplateSyntaxError, RecursionError, SyntaxError, MemoryError):
        return None
    return Template.from_code(environment, code, environment.make_globals(None))


class _Folding:
    def __init__(
        self, environment: TemplateEnvironment, files: Mapping[str, str], file: str
    ) -> None:
        self._environment, self._files, self._file = environment, files, file
        self._open: list[str] = []
        self._imported: dict[str, str] = {}
        self._blocks: dict[str, nodes.Block] = {}

    def fold(self) -> nodes.Template:
        chain = [self._parse(self._file)]
        names = [self._file]
        while (extends := _extends(chain[-1])) is not None:
            names.append(_constant(extends))
            if len(names) > len(set(names)):
                raise _CannotFold
            chain.append(self._parse(names[-1]))
        for tree in chain:
            for block in _plain_blocks(tree):
                self._blocks.setdefault(block.name, block)
        body: list[nodes.Node] = []
        for tree in chain[:-1]:
            body += self._prelude(tree)
        layout = chain[-1].body
        first = next((at for at, node in enumerate(layout) if isinstance(node, nodes.Block)), None)
        # A name that is given later, or perhaps, must not reach a block that is shown before.
        if first is not None and (
            any(isinstance(node, _BINDING) for node in layout[first:])
            or any(_inside(node, *_BINDING) for node in layout if not isinstance(node, nodes.Block))
        ):
            raise _CannotFold
        body += self._shown(layout, at_top=True)
        return nodes.Template(_merged(body), lineno=1, environment=self._environment)

    def _parse(self, file: str) -> nodes.Template:
        if file not in self._files or is_markup(file) is not is_markup(self._file):
            raise _CannotFold
        # What is wrong in a part that is not shown is still wrong.
        self._environment.get_template(file)
        tree = self._environment.parse(source_text(self._files, file), file, file)
        for node in _all(tree, *_NAMING):
            assert isinstance(node, _NAMING)
            name = node.template
            if not isinstance(name, nodes.Const) or not isinstance(name.value, str):
                raise _CannotFold
            # Names are relative to the file that they stand in.
            name.value = resolve_name(name.value, file)
        if any(node.name in ("super", "self") for node in _all(tree, nodes.Name)):
            raise _CannotFold
        return tree

    def _prelude(self, tree: nodes.Template) -> Iterator[nodes.Node]:
        """What a file that has a layout does itself; all that it prints after that is dropped."""
        extended = False
        for node in tree.body:
            if isinstance(node, nodes.Extends):
                extended = True
            elif isinstance(node, nodes.Output):
                if not extended:
                    yield node
            elif isinstance(node, _PRELUDE):
                yield from self._bound(node)
            elif not isinstance(node, nodes.Block):
                raise _CannotFold

    def _bound(self, node: nodes.Node) -> Iterator[nodes.Node]:
        """An assignment or import at the top of a file; macros that stand alone in its place."""
        if isinstance(node, nodes.FromImport):
            macros = self._macros(node)
            if macros is not None:
                file = _constant(node)
                for macro in macros:
                    if self._imported.get(macro.name) != file:
                        self._imported[macro.name] = file
                        yield macro
                return
        for name in _names_given(node):
            self._imported.pop(name, None)
        yield node

    def _macros(self, node: nodes.FromImport) -> list[nodes.Macro] | None:
        """The macros that are imported, if their file holds macros only that use nothing else."""
        if any(not isinstance(name, str) for name in node.names):
            return None
        tree = self._parse(_constant(node))
        macros: dict[str, nodes.Macro] = {}
        for part in tree.body:
            if isinstance(part, nodes.Macro):
                macros[part.name] = part
            elif not isinstance(part, nodes.Output) or not _is_text(part):
                return None
        wanted = [macros[name] for name in node.names if name in macros]
        alone = nodes.Template(list(wanted), lineno=1, environment=self._environment)
        if len(wanted) < len(node.names) or _all(alone, *_NAMING, nodes.Block):
            return None
        for macro in wanted:
            one = nodes.Template([macro], lineno=1, environment=self._environment)
            if find_undeclared_variables(one):
                return None
        return wanted

    def _shown(self, body: Iterable[nodes.Node], *, at_top: bool = False) -> list[nodes.Node]:
        shown: list[nodes.Node] = []
        for node in body:
            if isinstance(node, nodes.Block):
                shown += self._block(node.name)
            elif isinstance(node, nodes.Include):
                shown += self._include(node)
            elif at_top and isinstance(node, _PRELUDE):
                shown += self._bound(node)
            else:
                shown.append(node)
        return shown

    def _block(self, name: str) -> list[nodes.Node]:
        block = self._blocks[name]
        if name in self._open:
            raise _CannotFold
        binds = any(_all(node, *_BINDING) for node in block.body)
        # A block does not see what the block around it has given a name to.
        if binds and _inside(block, nodes.Block, nodes.Include):
            raise _CannotFold
        self._open.append(name)
        body = self._shown(block.body)
        self._open.pop()
        return [nodes.Scope(_merged(body), lineno=block.lineno)] if binds else body

    def _include(self, node: nodes.Include) -> list[nodes.Node]:
        file = _constant(node)
        if file in self._open:
            raise _CannotFold
        tree = self._parse(file)
        if _all(tree, nodes.Extends, nodes.Block, *_BINDING):
            return [node]
        self._open.append(file)
        body = self._shown(tree.body)
        self._open.pop()
        return body


def _extends(tree: nodes.Template) -> nodes.Extends | None:
    found = _all(tree, nodes.Extends)
    if not found:
        return None
    if len(found) > 1 or found[0] not in tree.body:
        raise _CannotFold
    assert isinstance(found[0], nodes.Extends)
    return found[0]


def _plain_blocks(tree: nodes.Template) -> list[nodes.Block]:
    """The blocks of a file, all of which stand at its top or in each other."""
    plain: list[nodes.Block] = []
    bodies = [tree.body]
    while bodies:
        blocks = [node for node in bodies.pop() if isinstance(node, nodes.Block)]
        plain += blocks
        bodies += [block.body for block in blocks]
    every = list(tree.find_all(nodes.Block))
    if len(plain) != len(every) or any(block.scoped or block.required for block in every):
        raise _CannotFold
    return plain


def _is_text(node: nodes.Output) -> bool:
    return all(isinstance(part, nodes.TemplateData) for part in node.nodes)


def _constant(node: nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport) -> str:
    assert isinstance(node.template, nodes.Const)
    return str(node.template.value)


def _names_given(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Import):
        yield node.target
    elif isinstance(node, nodes.FromImport):
        for name in node.names:
            yield name if isinstance(name, str) else name[1]
    else:
        yield from (name.name for name in _all(node, nodes.Name))


def _all(node: nodes.Node, *kinds: type[_Node]) -> list[_Node]:
    own = [node] if isinstance(node, kinds) else []
    return own + _inside(node, *kinds)


def _inside(node: nodes.Node, *kinds: type[_Node]) -> list[_Node]:
    return list(node.find_all(kinds))


def _merged(body: Iterable[nodes.Node]) -> list[nodes.Node]:
    """The same with neighbouring outputs in one, so that texts between values are one piece."""
    merged: list[nodes.Node] = []
    for node in body:
        if isinstance(node, nodes.Output) and merged and isinstance(merged[-1], nodes.Output):
            merged[-1] = nodes.Output([*merged[-1].nodes, *node.nodes], lineno=merged[-1].lineno)
        else:
            merged.append(node)
    return merged
