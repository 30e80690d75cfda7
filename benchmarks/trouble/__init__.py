"""What goes wrong at night, done to the real command: one module for each kind of trouble that `faults.py` counts."""
