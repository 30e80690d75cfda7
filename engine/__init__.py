"""Everything a run needs: tags, prompt, guide, decoder, corpus, sink, pipeline. Knows nothing of training or terminals."""
