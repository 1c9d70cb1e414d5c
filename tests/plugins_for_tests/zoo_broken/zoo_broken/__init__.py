"""Plugins that are broken, one fault a module."""
