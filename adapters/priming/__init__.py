"""The tag stage for any language model: `nerx prime`, and the pieces that the recipe of the embedded base shares.

Start reading in `stage`: the function `prime` is a list of verbs. `config` holds the options. `sets`, `heldout` and
`glossary` read the annotated sets, `sampler` draws training examples from them. `lora` and `pupil` hold what learns,
`learner` does the steps, `checkpoint` keeps them. `folder` and `card` write the result.
"""
