"""Corpora in: files and stores, formats, shards. Knows nothing of tagging."""
