"""The errors of every reader of weight files."""


class CheckpointError(ValueError):
    """A weight file that is damaged, is refused because it would run code, or does not fit the network."""


class ClassCountError(CheckpointError):
    """Weights that fit but for the number of classes: the file's are `classes`."""

    def __init__(self, text: str, classes: int) -> None:
        super().__init__(text)
        self.classes = classes
