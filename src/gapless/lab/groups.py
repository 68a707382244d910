"""What a group of tasks failed of, for people."""

from gapless.errors import GaplessError


def first_of(error: BaseException) -> GaplessError:
    """The first error of a task group that is not a group; re-raised when it is not one that was raised on purpose."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, GaplessError):
        raise error
    return error
