"""`python -m nerx` is the command `nerx`."""

from .cli.app import main

main()
