"""Fetching published records from their public repositories, by commit, checked by sha256."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pooch
import requests

from taskgram_utils.errors import InputError, require, require_columns
from taskgram_utils.progress import Bar
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.texts import write_text

SETS = ("phases", "naturalstories", "arithmetic", "crosscare", "hubble")
ADDRESS = "https://raw.githubusercontent.com"
_ATTEMPTS = 5
_FORMS = {"set": "|".join(SETS), "repo": r"\w[\w.-]*/\w[\w.-]*", "commit": "[0-9a-f]{40}",
          "path": r"(?!.*\.\.)\w[^\0]*", "sha256": "[0-9a-f]{64}", "licence": ".*"}


def sources(path: str | Path | None = None) -> pd.DataFrame:
    """The files of the records: set, repo, commit, path, bytes, sha256, licence, all as text.

    ``path``: a list of one's own in the same form, for the same files of another commit. Raises
    InputError where a column is missing or a row names no file.
    """
    path = Path(path or PACKAGE / "published" / "SOURCES.tsv")
    table = table_of_text(path, sep="\t")
    require_columns(table, _FORMS, str(path))
    right = np.all([table[column].str.fullmatch(form) for column, form in _FORMS.items()], axis=0)
    require(right.all(), f"{path}: row {right.argmin() + 1} names no file of a known set by commit")
    return table


def place(row: pd.Series) -> Path:
    """Where a file of :func:`sources` lies in a folder of records: ``set/owner+name/path``."""
    return Path(row["set"]) / row["repo"].replace("/", "+") / row["path"]


def table_of_text(path: Path, **options) -> pd.DataFrame:
    """A table whose cells are texts, blanks and all. Raises InputError where there is none."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table ({str(error).strip()})") from error


def fetch(folder: str | Path, sets: Sequence[str] = (), url: str | None = None,
          listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Fetch the files of :func:`sources` (of the named ``sets``; default: all) into a folder.

    A file comes from ``url``/owner/name/commit/path (default: :data:`ADDRESS`), in several attempts
    if need be, and appears under its name once its sha256 is right. A file that is there already
    is not fetched again. ``SOURCES.tsv`` in the folder lists all files that are there. Returns the
    list of the wanted files with ``fetched``. Raises InputError, naming the address or the file:
    for an unknown set, a folder that cannot be written, another file under the name of one, and a
    file that cannot be had.
    """
    folder, listed = Path(folder), sources() if listed is None else listed
    for name in sets:
        require(name in SETS, f"record {name}: not one of {', '.join(SETS)}")
    url = (url or ADDRESS).rstrip("/")
    require(url.startswith(("http://", "https://")), f"{url}: no address of a web server")
    wanted = listed[listed["set"].isin(sets or SETS)]
    names = [str(place(row)) for _, row in wanted.iterrows()]
    there = url + "/" + wanted["repo"] + "/" + wanted["commit"] + "/" + wanted["path"].map(quote)
    addresses = dict(zip(names, there, strict=True))
    store = pooch.create(folder, url, registry=dict(zip(names, wanted["sha256"], strict=True)),
                         urls=addresses, allow_updates=False, retry_if_failed=_ATTEMPTS - 1)
    pooch.get_logger().setLevel("WARNING")  # the bar says how far it is
    fetched = []
    for name in Bar(names, desc="records", unit=" files"):
        path = folder / name
        fetched.append(not path.exists())
        try:
            store.fetch(name, downloader=pooch.HTTPDownloader(timeout=30))
            if fetched[-1]:
                path.chmod(0o644)  # a temporary file, which it was, is its owner's alone
        except requests.RequestException as error:
            answer = getattr(error.response, "status_code", type(error).__name__)
            raise InputError(f"{addresses[name]}: HTTP {answer} after {_ATTEMPTS} attempts; "
                             "run it again later: what is whole stays") from error
        except ValueError as error:
            what = f"{addresses[name]}: not the listed file; it is not kept"
            if path.exists():
                what = f"{path}: another file lies there; remove it, and run this again"
            raise InputError(f"{what} (its sha256 differs)") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    whole = listed[[(folder / place(row)).is_file() for _, row in listed.iterrows()]]
    write_text(folder / "SOURCES.tsv", whole.to_csv(sep="\t", index=False))
    return wanted.assign(fetched=fetched)
