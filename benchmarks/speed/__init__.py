"""How fast nerx is and how much memory it takes: programs, the clock, and the work that they time."""
