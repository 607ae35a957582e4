"""The error of every reader of weight files."""


class CheckpointError(ValueError):
    """A weight file that is damaged, is refused because it would run code, or does not fit the network."""
