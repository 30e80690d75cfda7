"""The terminal: options in, one plain function called, its result rendered. The only place that prints."""
