"""Small worked examples that a notebook runs in seconds."""
