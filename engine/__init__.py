"""Everything a run needs, from tags to pipeline. Knows nothing of training or terminals."""
