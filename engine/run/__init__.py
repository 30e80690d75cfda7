"""A whole job: a corpus read, tagged and written, locally or by a Ray cluster."""
