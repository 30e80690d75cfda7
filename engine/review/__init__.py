"""An output read back: verified, compared, measured, reported."""
