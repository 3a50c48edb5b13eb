"""The command line ``ignition``."""

from ignition_ext.cli.main import main

__all__ = ["main"]
