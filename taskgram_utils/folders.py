"""Files and folders: what was put there on purpose, what was left behind, and a file's digest."""

import hashlib
import os
import re
from pathlib import Path

from taskgram_utils.errors import InputError, require

_LEFT = re.compile(r"(?is)\..*|__macosx|thumbs\.db|desktop\.ini|.*\.(partial|lock)")


def meant(name: str) -> bool:
    """Whether a file or folder of this name was put there on purpose: not hidden, no leftover."""
    return not _LEFT.fullmatch(name)


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """What fits the pattern in a folder and below it and was put there on purpose, sorted."""
    paths = folder.rglob(pattern)
    return sorted(p for p in paths if all(map(meant, p.relative_to(folder).parts)))


def walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """All files in a folder and below it, links followed, and what was not put there on purpose.

    A folder of the second kind is listed itself, not what it holds. Both lists are sorted. Raises
    InputError for a folder that cannot be read, and for a link to a folder that holds it.
    """

    def refuse(error: OSError):
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error

    files, left = [], []
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        left += [Path(place, name) for name in (*folders, *names) if not meant(name)]
        files += [Path(place, name) for name in names if meant(name)]
        folders[:] = filter(meant, folders)
        for link in filter(Path.is_symlink, [Path(place, name) for name in folders]):
            loop = any(above.resolve().is_relative_to(link.resolve()) for above in link.parents)
            require(not loop, f"{link}: a link to a folder that holds it; remove it")
    return sorted(files), sorted(left)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
