"""Puts the limits into a template's syntax tree before it is compiled."""

from __future__ import annotations

from typing import NoReturn

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer

COUNTED, JOINED, SHALLOW = "@counted", "@joined", "@shallow"
"""Filters that only this module can name; :mod:`.sandbox` binds them."""


def guard(tree: nodes.Template) -> nodes.Template:
    """The same template with its loops counted and its concatenations measured.

    Raises:
        TemplateSyntaxError: it uses something that is not offered here.
    """
    _Guard().visit(tree)
    return tree


class _Guard(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            _refuse("recursive loops are not offered; loop twice", node)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, COUNTED)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.Tuple(node.nodes, "load", lineno=node.lineno), JOINED)

    def visit_List(self, node: nodes.List | nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, SHALLOW)

    visit_Dict = visit_List  # a mapping is built just as a list

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, SHALLOW) if node.ctx == "load" else node

    def visit_Include(self, node: nodes.Include) -> nodes.Node:
        return self._with_context(node)

    def visit_Import(self, node: nodes.Import) -> nodes.Node:
        return self._with_context(node)

    def visit_FromImport(self, node: nodes.FromImport) -> nodes.Node:
        return self._with_context(node)

    def visit_Extends(self, node: nodes.Extends) -> nodes.Node:
        _require_name(node)
        return node

    def visit_ScopedEvalContextModifier(self, node: nodes.Node) -> nodes.Node:
        _refuse("escaping cannot be turned off; values never become markup", node)

    def _with_context(self, node: nodes.Include | nodes.Import | nodes.FromImport) -> nodes.Node:
        # Macros without the context would not know the recipient's language, and Jinja would
        # keep what they computed for the first recipient.
        _require_name(node)
        node.with_context = True
        return node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    assert isinstance(node, nodes.Expr)
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _require_name(node: nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport) -> None:
    if not (isinstance(node.template, nodes.Const) and isinstance(node.template.value, str)):
        _refuse("the name of another file must be a plain text in quotes", node)


def _refuse(message: str, node: nodes.Node) -> NoReturn:
    raise TemplateSyntaxError(message, node.lineno)
