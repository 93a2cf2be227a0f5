"""What of a folder was put there on purpose, and what systems, editors and this package leave behind."""

from __future__ import annotations

import re
from pathlib import Path

_LEFT = re.compile(r"\..*|__macosx|thumbs\.db|desktop\.ini|.*\.(partial|lock)", re.IGNORECASE | re.DOTALL)


def meant(name: str) -> bool:
    """Whether a file or folder of this name was put there on purpose; hidden ones and leftovers were not."""
    return not _LEFT.fullmatch(name)


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """What fits the pattern in a folder and in those below it and was put there on purpose, in sorted order."""
    return sorted(p for p in folder.rglob(pattern) if all(map(meant, p.relative_to(folder).parts)))
