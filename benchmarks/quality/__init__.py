"""How good the entities are: programs that compare nerx with its rivals, and check that the comparison is fair."""
