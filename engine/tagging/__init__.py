"""Texts in, spans out: prompt, model, drafter, decoder. Knows nothing of files."""
