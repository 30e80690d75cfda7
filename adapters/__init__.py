"""Trains, evaluates and writes the domain adapter: seeds in, an adapter folder out. Nothing here prints."""
