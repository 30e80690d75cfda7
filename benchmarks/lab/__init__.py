"""What every benchmark program stands on: the data sets, finished cells, the table, the machine. Knows no model."""
