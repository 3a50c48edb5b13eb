"""Ignition as people use it; a package, so that the servers of its fixtures end with its tests."""
