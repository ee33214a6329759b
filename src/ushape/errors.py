"""What the user must hear of: errors that name the thing, its value and the remedy."""


class UshapeError(Exception):
    """A mistake in what was given (a spec, a file, a setting), told in one line with its remedy.

    The command line prints the message without a traceback and exits with code 2.
    """


class SpecError(UshapeError):
    """A spec that cannot be read or built."""


class DataError(UshapeError):
    """A file or folder of images and masks that cannot be used."""


class RecipeError(UshapeError):
    """A recipe with an unknown key or a value out of range."""


class RunError(UshapeError):
    """A run or study that cannot start or go on: a foreign folder, a loss that is not finite, a full disk."""


LARGEST_SEED = 2**31
"""With a step and a shard counted on, it fits the 64 bits that torch's generators take."""


def check_seed(seed: int) -> int:
    """The seed; UshapeError where it is below 0 or too large."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UshapeError(f"seed {seed} is out of range: give 0 to {LARGEST_SEED}")
    return seed


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` for the closest of `known`, or an empty string where nothing is close."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
