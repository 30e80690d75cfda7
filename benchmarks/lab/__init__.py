"""What the programs share: data sets, finished cells, the table, the machine. Only `rivals/` and `tiny` know models."""
