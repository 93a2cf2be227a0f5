"""The one error a user is meant to read: what is wrong, where, and what to do."""


class InputError(ValueError):
    """Bad input. The message is one line; the command prints it alone and ends with exit code 2."""


class InputWarning(UserWarning):
    """Numbers that may not be what they seem. The command prints it once, as ``taskgram: ...``."""


def reason(error: BaseException) -> str:
    """What an error of a library says, in one short line, with its class where it says little."""
    text = " ".join(str(error).split())
    text = text if " " in text else f"{type(error).__name__}: {text}"
    return text if len(text) <= 300 else text[:300].rsplit(" ", 1)[0] + " …"


def require(condition: object, message: str) -> None:
    """Raise :class:`InputError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise InputError(message)


def require_columns(frame, columns, name: str) -> None:
    """Raise :class:`InputError` naming the columns that ``frame`` (called ``name``) lacks."""
    missing = [c for c in columns if c not in frame.columns]
    # In quotes, a blank at the edge of a name can be seen.
    there = ", ".join(c if c == c.strip() else repr(c) for c in map(str, frame.columns))
    require(not missing, f"{name}: missing column {', '.join(missing)} (it has: {there})")
