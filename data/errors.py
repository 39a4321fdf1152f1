"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """Bad input: the message names the file or field, the value and what is accepted.

    The command line prints the message without a traceback and exits with code 2.
    """
