"""The errors that users meet."""


class UserError(Exception):
    """Input or configuration that can't be used.

    The message names the file or section, the field, the value and the remedy. Programs print it
    without a traceback and exit with `exit_code`; any other exception is a bug and keeps its traceback.
    """

    exit_code = 1


class Absent(UserError):
    """A file that a record names is not there."""


class Interrupted(UserError):
    """Stopped by a signal, with nothing lost: the same command goes on from there."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class Unusable(Exception):
    """A row that can't be used; the message is the reason under which it is counted."""
