"""Programs that make the tables of README, and their results.

Run them from the root of the clone, as `python -m benchmarks.speed.decoding --quick`. `README.md` says which command
makes which table. Programs do not import each other: what several of them need is in `lab/`, or beside them.
"""
