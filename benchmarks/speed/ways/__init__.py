"""The ways of getting tagged outputs that `decoding.py` times, all behind one protocol (`contender.py`)."""
