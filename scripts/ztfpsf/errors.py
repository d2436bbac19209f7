"""The one exception for bad input: what is wrong, in which file or key, and the way out."""


class InputError(ValueError):
    """A problem of the user's input, told in one sentence.

    A batch job turns it into the status of one image, a single job into its last log line.
    """


def first_sentence(error: Exception) -> str:
    """What an error says first, on one line: the advice that follows is for programmers."""
    lines = str(error).splitlines() or [""]
    return lines[0].partition(". ")[0].rstrip(".: ") or type(error).__name__
