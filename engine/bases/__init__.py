"""The bases that nerx knows by name: what they are, where they lie, how one is fetched and converted. No tagging."""
