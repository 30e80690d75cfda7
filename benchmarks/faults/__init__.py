"""What can go wrong, done to the real command and counted.

`trouble.py` and `hostile.py` are programs. Each other module is one kind of trouble that `trouble.py` counts, or what
these kinds share.
"""
