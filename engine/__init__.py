"""A map of the rooms. They hold everything that a run needs, and know nothing of training or terminals.

=============  ========================================================================================================
room           holds
=============  ========================================================================================================
the top        the small words that every room uses: errors, span, label, columns, tally, origin, share, redaction
``bases/``     language models by name: found, fetched, checked, converted once
``tagging/``   texts in, spans out: prompt, guide, model, drafter, decoder, extractor
``reading/``   corpora in: stores, file formats, records, shards
``writing/``   rows out, exactly once: staging, a sink, the outputs it fills (local, shared, store), those that grow
``run/``       a whole job: a corpus goes through an extractor into a sink, here or on a Ray cluster
``review/``    an output read back: verified, compared, measured, reported
=============  ========================================================================================================

Layers, the upper one first. A room imports only rooms below it, and no two files import each other::

    run        review
    tagging    writing
    bases      reading
    the top

`tagging` imports neither `reading` nor `writing`: the model knows no corpus, and files know no model. `run` and
`review` do not know each other. `cli` and `adapters` stand above all of them. `tests/test_layers.py` checks this.

Words for portions, from the input to the output:

block
    Bytes of a line format (JSONL, CSV, text): whole records that are parsed at once. `reading/record.py`.
cut
    Consecutive rows of one input source that can be read without the rest of it. `reading/source.py`.
shard
    A cut with its number in the whole corpus. A run works on one shard after another and commits each as a whole.
    `reading/corpus.py`.
share
    The shards that belong to one of several machines, as `--shard 2/4` asks for. `share.py`.
batch
    What goes through at once. Of rows: an Arrow record batch out of a shard, `reading/corpus.py`. Of the model: texts
    of like lengths in one forward pass, `tagging/batching.py`.
chunk
    A window of tokens of one text that is too long for one pass. `tagging/chunk.py`.
piece
    A Parquet file in the staging folder: finished rows of one shard. A run that was killed goes on after the last one.
    `writing/staging.py`.
part
    A Parquet file of a published output folder, `part-00000.parquet`. It holds one shard or, in an output that grows,
    one input file. `writing/part.py`.
"""
