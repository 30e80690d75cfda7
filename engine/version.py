"""The version of nerx, at the bottom of the house so that every module can read it. Imports nothing."""

__version__ = "0.1.0"
