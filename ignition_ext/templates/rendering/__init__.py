"""Rendering: template sources and a recipient in, subject, HTML, text and SMS out. Pure."""

from ignition_ext.templates.rendering.renderer import Renderer
from ignition_ext.templates.rendering.sources import RenderedEmail, TemplateSources

__all__ = ["RenderedEmail", "Renderer", "TemplateSources"]
