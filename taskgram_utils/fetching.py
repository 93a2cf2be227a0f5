"""Fetching published records from their public repositories, by commit: checked, resumed, never half a file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import pandas as pd
import requests

from taskgram_utils.errors import InputError, require, require_columns
from taskgram_utils.progress import Bar
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.texts import write_text

SETS = {
    "phases": "correlation of Pythia's log P with n-gram log P, by training step",
    "naturalstories": "surprisal of words of running text, in full and in short contexts",
    "arithmetic": "accuracy by the number that a sum or product begins with",
    "crosscare": "log P of sentences with a disease and a group, and how often the Pile has both",
}
_LISTED = ["set", "repo", "commit", "path", "bytes", "sha256", "licence"]
ADDRESS = "https://raw.githubusercontent.com"
_ATTEMPTS = 5
_FOR_NOW = (403, 408, 429)  # like all from 500 on: what is refused now may be answered later
_LONGEST = 60.0  # seconds between two attempts


def sources(path: str | Path | None = None) -> pd.DataFrame:
    """The files of the records: set, repo, commit, path, bytes, sha256, licence. ``path``: a list of one's own in the
    same form, for the same files of another commit. Raises InputError where a column is missing or a row is no file."""
    place = Path(path) if path else PACKAGE / "published" / "SOURCES.tsv"
    table = table_of_text(place, sep="\t")
    require_columns(table, _LISTED, str(place))
    plain = table["path"].map(lambda p: bool(p) and not (Path(p).is_absolute() or ".." in Path(p).parts or "\0" in p))
    right = plain & table["sha256"].str.fullmatch("[0-9a-f]{64}") & table["commit"].str.fullmatch("[0-9a-f]{40}")
    right &= table["repo"].str.fullmatch(r"\w[\w.-]*/\w[\w.-]*") & table["set"].isin(SETS)
    right &= table["bytes"].str.fullmatch(r"\d{1,12}") & ~table.duplicated(["set", "repo", "path"])
    wrong = table.index[~right.fillna(False).astype(bool)]
    require(not len(wrong), f"{place}: row {wrong[0] + 1 if len(wrong) else ''} names no file of a known set by commit")
    return table.assign(bytes=pd.to_numeric(table["bytes"]))


def place(row: pd.Series) -> Path:
    """Where a file of :func:`sources` lies in a folder of records: ``set/owner+name/path``."""
    return Path(row["set"]) / row["repo"].replace("/", "+") / row["path"]


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def table_of_text(path: Path, **how) -> pd.DataFrame:
    """A table of texts, blanks and all."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, **how)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table ({' '.join(str(error).split())[:120]})") from error


def fetch(
    folder: str | Path, sets: Sequence[str] = (), url: str | None = None, listed: pd.DataFrame | None = None,
    progress: bool = True, pause: float = 1.0, timeout: float = 30.0,
) -> pd.DataFrame:  # fmt: skip
    """Fetch the files of :func:`sources` (of the named ``sets``; default: all) into a folder.

    From ``url``/owner/name/commit/path, by default :data:`ADDRESS`. A file that is there already, whole and unaltered,
    is not fetched again. What fails for now is asked again after ``pause`` seconds, doubled each time. A file appears
    under its name only when its sha256 is right. Returns the list with ``fetched``. Raises InputError, naming the
    address or the file: for an unknown set, a folder that cannot be written, a file there that is another one, and
    what cannot be had.
    """
    folder, listed = Path(folder), sources() if listed is None else listed
    unknown = sorted(set(sets) - set(SETS))
    require(not unknown, f"record {', '.join(unknown)}: not one of {', '.join(SETS)}")
    url = (url or ADDRESS).rstrip("/")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    require(known, f"{url}: no address of a web server")
    note = folder / "SOURCES.tsv"
    require(not note.is_dir(), f"{note}: is a folder, where the list of the files is kept; remove it")
    wanted = listed[listed["set"].isin(sets or SETS)]
    fetched = []
    with requests.Session() as session:
        rows = [row for _, row in wanted.iterrows()]
        for row in Bar(rows, desc="records", unit=" files", disable=None if progress else True):
            path = folder / place(row)
            there = path.exists()
            if there:
                same = path.is_file() and digest(path) == row["sha256"]
                require(same, f"{path}: another file lies there (its sha256 is not that of commit "
                        f"{row['commit'][:12]}); remove it, and run this again")  # fmt: skip
            else:
                address = f"{url}/{row['repo']}/{row['commit']}/{quote(row['path'])}"
                _one(session, address, path, row, pause, timeout)
            fetched.append(not there)
    here = listed[[(folder / place(row)).is_file() for _, row in listed.iterrows()]]
    text = here.to_csv(sep="\t", index=False)
    if not note.is_file() or note.read_text(encoding="utf-8") != text:
        write_text(note, text)
    return wanted.assign(fetched=fetched)


def _one(session: requests.Session, address: str, path: Path, row: pd.Series, pause: float, timeout: float) -> None:
    """One file, however many attempts it takes."""
    fault = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(min(_LONGEST, pause * 2 ** (attempt - 1)))
        try:
            with session.get(address, stream=True, timeout=timeout) as response:
                status = response.status_code
                if status in _FOR_NOW or status >= 500:
                    fault = f"HTTP {status}"
                    continue
                require(status == 200, f"{address}: HTTP {status}; {row['repo']} has no such file at that commit, or "
                        "has moved")  # fmt: skip
                content = bytearray()
                for piece in response.iter_content(1 << 16):
                    content += piece
                    if len(content) > row["bytes"]:
                        break
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise InputError(f"{address}: no address of a web server") from error
        except requests.RequestException as error:
            fault = f"no whole answer ({type(error).__name__})"
            continue
        if len(content) < row["bytes"]:
            fault = f"{len(content):,} of {row['bytes']:,} bytes"
            continue
        right = hashlib.sha256(content).hexdigest() == row["sha256"]
        require(right, f"{address}: not the file that is listed for this commit (its sha256 differs); not kept")
        _keep(path, bytes(content))
        return
    raise InputError(f"{address}: {fault}, at the last of {_ATTEMPTS} attempts; run it again later: whole files stay")


def _keep(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name[:80]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
