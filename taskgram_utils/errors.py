"""The one error a user is meant to read: what is wrong, where, and what to do."""


class InputError(ValueError):
    """Bad input. The message is one line; the command prints it alone and ends with exit code 2."""


class InputWarning(UserWarning):
    """Numbers that may not be what they seem. The command prints it once, as ``taskgram: ...``."""


def require(condition: object, message: str) -> None:
    """Raise :class:`InputError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise InputError(message)


def require_columns(frame, columns, name: str) -> None:
    """Raise :class:`InputError` naming the columns that ``frame`` (called ``name``) lacks."""
    missing = [c for c in columns if c not in frame.columns]
    there = ", ".join(c if c == c.strip() else repr(c) for c in map(str, frame.columns))  # blanks are seen in quotes
    require(not missing, f"{name}: missing column {', '.join(missing)} (it has: {there})")


def exactness(frame, name: str):
    """Which counts, or rows that rest on them, are exact by their column ``exact`` (boolean, null where not known)."""
    said = frame["exact"] if "exact" in frame.columns else frame.assign(exact=None)["exact"]
    read = said.map({True: True, False: False, "True": True, "False": False})
    strange = said[read.isna() & said.notna()]
    require(strange.empty, f"{name}: exact {next(iter(strange), '')!r} is neither True nor False")
    return read.astype("boolean")
