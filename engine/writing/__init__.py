"""Rows out, exactly once: parts, staging, the final name. Knows nothing of tagging."""
