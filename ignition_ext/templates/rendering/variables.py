"""Finds the variables that a template needs from an audience, each with its file and line.

The walk knows what Jinja would do: what loops, macros, imports and ``set`` define, which block
of an inheritance chain is shown, and that ``x is defined`` and ``x|default(…)`` may lack ``x``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes

from ignition_ext.templates.rendering.references import parse
from ignition_ext.templates.rendering.sandbox import TemplateEnvironment, resolve_name
from ignition_ext.templates.rendering.sources import MANIFEST, TemplateSources, part_of
from ignition_ext.values import Channel

GLOBAL_NAMES = frozenset(
    {"recipient", "campaign", "tenant", "run", "unsubscribe_url", "preferences_url"}
)
"""What every template sees beside the recipient's columns; the links where there are pages."""

_MAPPING_METHODS = frozenset({"get", "items", "keys", "values"})
_PARTS_OF_CHANNEL = {
    Channel.EMAIL: ("subject.txt", "body.html", "body.txt"),
    Channel.SMS: ("sms.txt",),
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """A variable that an audience lacks; ``line`` counts from 1, 0 where it is not known."""

    file: str
    line: int
    name: str


def check_variables(
    sources: TemplateSources, columns: Collection[str], *, channel: Channel | None = None
) -> list[Problem]:
    """The variables that a template uses and an audience with these columns does not have.

    Args:
        sources: the template.
        columns: the audience's, as its source spells them.
        channel: look only at the files that this channel uses.
    """
    settings = sources.settings
    known = {*columns, *(settings.get("defaults") or {})}
    problems = set(find_unknown(sources.name, sources.files, known, channel=channel))
    for name in settings.get("required") or ():
        if name not in known:
            problems.add(Problem(file=f"{sources.name}/{MANIFEST}", line=0, name=name))
    return sorted(problems)


def needed_columns(
    name: str, files: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[str, ...]:
    """The names of all columns that a template cannot do without."""
    defaults = settings.get("defaults") or {}
    names = {problem.name for problem in find_unknown(name, files, defaults)}
    names |= {required for required in settings.get("required") or () if required not in defaults}
    return tuple(sorted({name.removeprefix("recipient.") for name in names}))


def find_unknown(
    template: str,
    files: Mapping[str, str],
    known: Iterable[str],
    *,
    channel: Channel | None = None,
) -> Iterator[Problem]:
    """Each use of a name that is not known, in every language of the template's parts."""
    own = [file for file in files if file.startswith(f"{template}/")]
    wanted = _PARTS_OF_CHANNEL[channel] if channel else None
    roots = [file for file in own if (part_of(file) in wanted if wanted else part_of(file))]
    walk = _Walk(files, known)
    for root in roots or own:
        walk.entry(root)
    yield from walk.found


class _Scope:
    """Names that are bound at one place, on top of those of the places around it."""

    __slots__ = ("names",)

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def inner(self, *more: Iterable[str]) -> _Scope:
        return _Scope(self.names.union(*more))


class _Walk:
    def __init__(self, files: Mapping[str, str], known: Iterable[str]) -> None:
        self._files = files
        self._environment = TemplateEnvironment(files)
        columns = set(known)
        self._known = _Scope(
            columns
            | {f"recipient.{name}" for name in columns}
            | GLOBAL_NAMES
            | set(self._environment.globals)
        )
        self._trees: dict[str, nodes.Template] = {}
        self._file = ""
        self._blocks: dict[str, list[tuple[str, nodes.Block]]] = {}
        self._shown: list[tuple[str, int]] = []
        self._open: list[str] = []
        self.found: set[Problem] = set()

    def entry(self, file: str, scope: _Scope | None = None) -> None:
        """Walk a file as Jinja would show it: its layout, with its own blocks put in."""
        if file in self._open:
            return
        chain = self._chain(file)
        blocks: dict[str, list[tuple[str, nodes.Block]]] = {}
        for member in chain:
            for block in self._tree(member).find_all(nodes.Block):
                blocks.setdefault(block.name, []).append((member, block))
        outer = self._blocks, self._shown
        self._blocks, self._shown = blocks, []
        self._open.append(file)
        context = (scope or self._known).inner()
        for member in chain[:-1]:
            with self._in(member):
                self._prelude(self._tree(member), context)
        with self._in(chain[-1]):
            self._all(self._tree(chain[-1]).body, context)
        self._open.pop()
        self._blocks, self._shown = outer

    def _chain(self, file: str) -> list[str]:
        chain = [file]
        while (extends := self._tree(chain[-1]).find(nodes.Extends)) is not None:
            parent = resolve_name(_constant(extends.template), chain[-1])
            if parent in chain or parent not in self._files:
                break
            chain.append(parent)
        return chain

    def _tree(self, file: str) -> nodes.Template:
        if file not in self._trees:
            self._trees[file] = parse(self._environment, self._files, file)
        return self._trees[file]

    @contextmanager
    def _in(self, file: str) -> Iterator[None]:
        before, self._file = self._file, file
        yield
        self._file = before

    def _prelude(self, tree: nodes.Template, scope: _Scope) -> None:
        """What a file that extends another does outside of its blocks: it prints nothing."""
        for node in tree.body:
            if not isinstance(node, nodes.Output | nodes.Block | nodes.Extends):
                self.visit(node, scope)

    def visit(self, node: nodes.Node, scope: _Scope) -> None:
        handler = getattr(self, f"visit_{type(node).__name__}", None)
        if handler is not None:
            handler(node, scope)
        else:
            self._all(node.iter_child_nodes(), scope)

    def _all(self, children: Iterable[nodes.Node | None], scope: _Scope) -> None:
        for child in children:
            if child is not None:
                self.visit(child, scope)

    def _report(self, name: str, node: nodes.Node, scope: _Scope) -> None:
        if name not in scope.names:
            self.found.add(Problem(file=self._file, line=node.lineno, name=name))

    def visit_Name(self, node: nodes.Name, scope: _Scope) -> None:
        if node.name == "super" and self._shown:
            self._super(scope)
        elif node.ctx == "load" and node.name != "self":
            self._report(node.name, node, scope)

    def visit_Getattr(self, node: nodes.Getattr | nodes.Getitem, scope: _Scope) -> None:
        name = _key(node)
        if name is None:
            self._all(node.iter_child_nodes(), scope)
        elif name.removeprefix("recipient.") not in _MAPPING_METHODS:
            self._report(name, node, scope)

    visit_Getitem = visit_Getattr

    def visit_Test(self, node: nodes.Test, scope: _Scope) -> None:
        if node.name not in ("defined", "undefined") or _key(node.node) is None:
            self._all(node.iter_child_nodes(), scope)

    def visit_Filter(self, node: nodes.Filter, scope: _Scope) -> None:
        spared = node.name in ("default", "d") and node.node is not None and _key(node.node)
        children = node.iter_child_nodes(exclude=("node",)) if spared else node.iter_child_nodes()
        self._all(children, scope)

    def visit_And(self, node: nodes.And, scope: _Scope) -> None:
        self.visit(node.left, scope)
        self.visit(node.right, scope.inner(_guards(node.left)[0]))

    def visit_Or(self, node: nodes.Or, scope: _Scope) -> None:
        self.visit(node.left, scope)
        self.visit(node.right, scope.inner(_guards(node.left)[1]))

    def visit_CondExpr(self, node: nodes.CondExpr, scope: _Scope) -> None:
        self.visit(node.test, scope)
        holds, fails = _guards(node.test)
        self.visit(node.expr1, scope.inner(holds))
        if node.expr2 is not None:
            self.visit(node.expr2, scope.inner(fails))

    def visit_If(self, node: nodes.If, scope: _Scope) -> None:
        self.visit(node.test, scope)
        holds, fails = _guards(node.test)
        then, otherwise = scope.inner(holds), scope.inner(fails)
        self._all(node.body, then)
        self._all([*node.elif_, *node.else_], otherwise)
        # A name that only one branch sets counts as set: the author has to know the other.
        scope.names |= (then.names - holds) | (otherwise.names - fails)

    def visit_For(self, node: nodes.For, scope: _Scope) -> None:
        self.visit(node.iter, scope)
        inner = scope.inner(_targets(node.target), {"loop"})
        self._all([node.test, *node.body], inner)
        self._all(node.else_, scope.inner())

    def visit_With(self, node: nodes.With, scope: _Scope) -> None:
        self._all(node.values, scope)
        inner = scope.inner(*(_targets(target) for target in node.targets))
        self._all(node.body, inner)

    def visit_Assign(self, node: nodes.Assign, scope: _Scope) -> None:
        self.visit(node.node, scope)
        scope.names |= _targets(node.target)

    def visit_AssignBlock(self, node: nodes.AssignBlock, scope: _Scope) -> None:
        self._all([node.filter, *node.body], scope.inner())
        scope.names |= _targets(node.target)

    def visit_FilterBlock(self, node: nodes.FilterBlock, scope: _Scope) -> None:
        self._all([node.filter, *node.body], scope.inner())

    def visit_Macro(self, node: nodes.Macro, scope: _Scope) -> None:
        scope.names.add(node.name)
        self._callable(node, scope)

    def visit_CallBlock(self, node: nodes.CallBlock, scope: _Scope) -> None:
        self.visit(node.call, scope)
        self._callable(node, scope)

    def _callable(self, node: nodes.Macro | nodes.CallBlock, scope: _Scope) -> None:
        self._all(node.defaults, scope)
        inner = scope.inner({"varargs", "kwargs", "caller"}, {name.name for name in node.args})
        self._all(node.body, inner)

    def visit_Include(
        self, node: nodes.Include | nodes.Import | nodes.FromImport, scope: _Scope
    ) -> None:
        file = resolve_name(_constant(node.template), self._file)
        if file in self._files:
            with self._in(file):
                self.entry(file, scope)

    def visit_Import(self, node: nodes.Import, scope: _Scope) -> None:
        self.visit_Include(node, scope)
        scope.names.add(node.target)

    def visit_FromImport(self, node: nodes.FromImport, scope: _Scope) -> None:
        self.visit_Include(node, scope)
        scope.names |= {name if isinstance(name, str) else name[1] for name in node.names}

    def visit_Block(self, node: nodes.Block, scope: _Scope) -> None:
        # Jinja shows a block what the file's top level holds, and a loop's names only if "scoped".
        self._show(node.name, 0, scope)

    def _super(self, scope: _Scope) -> None:
        name, place = self._shown[-1]
        self._show(name, place + 1, scope)

    def _show(self, name: str, place: int, scope: _Scope) -> None:
        members = self._blocks.get(name, [])
        if place < len(members):
            file, block = members[place]
            self._shown.append((name, place))
            with self._in(file):
                self._all(block.body, scope.inner())
            self._shown.pop()


def _constant(node: nodes.Node) -> str:
    assert isinstance(node, nodes.Const)  # the guard has seen to it
    return str(node.value)


def _key(node: nodes.Node | None) -> str | None:
    """``x`` for a name and ``recipient.x`` for a column of the recipient, else None."""
    match node:
        case nodes.Name(name=name) if name != "recipient":
            return str(name)
        case nodes.Getattr(node=nodes.Name(name="recipient"), attr=attribute):
            return f"recipient.{attribute}"
        case nodes.Getitem(node=nodes.Name(name="recipient"), arg=nodes.Const(value=str(item))):
            return f"recipient.{item}"
        case _:
            return None


def _targets(node: nodes.Node) -> set[str]:
    found = {name.name for name in node.find_all(nodes.Name)}
    return found | ({node.name} if isinstance(node, nodes.Name) else set())


def _guards(test: nodes.Node) -> tuple[set[str], set[str]]:
    """The names that are surely there when a test holds, and when it fails."""
    match test:
        case nodes.Test(name="defined", node=node) if _key(node):
            return {str(_key(node))}, set()
        case nodes.Test(name="undefined", node=node) if _key(node):
            return set(), {str(_key(node))}
        case nodes.Not(node=node):
            holds, fails = _guards(node)
            return fails, holds
        case nodes.And(left=left, right=right):
            one, two = _guards(left), _guards(right)
            return one[0] | two[0], one[1] & two[1]
        case nodes.Or(left=left, right=right):
            one, two = _guards(left), _guards(right)
            return one[0] & two[0], one[1] | two[1]
        case _:
            return set(), set()
