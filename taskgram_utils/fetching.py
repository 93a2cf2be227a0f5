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

from taskgram_utils import records
from taskgram_utils.errors import InputError, require
from taskgram_utils.progress import Bar
from taskgram_utils.tables import write_text

ADDRESS = "https://raw.githubusercontent.com"
_ATTEMPTS = 5
_FOR_NOW = (403, 408, 429)  # like all from 500 on: what is refused now may be answered later
_LONGEST = 60.0  # seconds between two attempts


def fetch(
    folder: str | Path, sets: Sequence[str] = (), url: str | None = None, listed: pd.DataFrame | None = None,
    progress: bool = True, pause: float = 1.0, timeout: float = 30.0,
) -> pd.DataFrame:  # fmt: skip
    """Fetch the files of :func:`taskgram_utils.records.sources` (of the named ``sets``; default: all) into a folder.

    From ``url``/owner/name/commit/path, by default :data:`ADDRESS`. A file that is there already, whole and unaltered,
    is not fetched again. What fails for now is asked again after ``pause`` seconds, doubled each time. A file appears
    under its name only when its sha256 is right. Returns the list with ``fetched``. Raises InputError, naming the
    address or the file: for an unknown set, a folder that cannot be written, a file there that is another one, and
    what cannot be had.
    """
    folder, listed = Path(folder), records.sources() if listed is None else listed
    unknown = sorted(set(sets) - set(records.SETS))
    require(not unknown, f"record {', '.join(unknown)}: not one of {', '.join(records.SETS)}")
    url = (url or ADDRESS).rstrip("/")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    require(known, f"{url}: no address of a web server")
    note = folder / "SOURCES.tsv"
    require(not note.is_dir(), f"{note}: is a folder, where the list of the files is kept; remove it")
    wanted = listed[listed["set"].isin(sets or records.SETS)]
    fetched = []
    with requests.Session() as session:
        rows = [row for _, row in wanted.iterrows()]
        for row in Bar(rows, desc="records", unit=" files", disable=None if progress else True):
            path = folder / records.place(row)
            there = path.exists()
            if there:
                same = path.is_file() and records.digest(path) == row["sha256"]
                require(same, f"{path}: another file lies there (its sha256 is not that of commit "
                        f"{row['commit'][:12]}); remove it, and run this again")  # fmt: skip
            else:
                address = f"{url}/{row['repo']}/{row['commit']}/{quote(row['path'])}"
                _one(session, address, path, row, pause, timeout)
            fetched.append(not there)
    here = listed[[(folder / records.place(row)).is_file() for _, row in listed.iterrows()]]
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
