"""The pages that recipients reach: unsubscribing, preferences, opens and clicks."""

from ignition_ext.web.app import create_app

__all__ = ["create_app"]
