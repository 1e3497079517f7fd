"""The one exception that carries a message for the user."""


class ViewraceError(Exception):
    """Bad input. The message is one line: the rule, the value received, what to do. The command line exits with 2."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))
