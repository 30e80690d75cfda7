"""The rows of the tables: nerx itself and what it is measured against, all behind one protocol (`contender`)."""
