"""Small worked examples: each runs in seconds, and each is tested."""
