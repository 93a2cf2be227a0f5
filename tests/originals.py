"""Small files in the form of the published records, listed as theirs are, and a server that has them by commit."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd

from taskgram_chapters.records import place

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "records"
COMMIT = {"phases": "a" * 40, "naturalstories": "b" * 40, "arithmetic": "c" * 40, "crosscare": "d" * 40,
          "hubble": "e" * 40}  # fmt: skip
TEXT = "natural_stories-{}-ngram_v4"
DISEASES = {"asthma": "195967001.0", "lupus": "200936003.0", "acne": "11381005.0", " mi ": "22298006.0"}
GROUPS = {"hispanic": "hispanic/latino", "white": "white/caucasian", "asian": "asian"}


def contents(rng: np.random.Generator) -> dict[tuple[str, str], str | bytes]:
    """Files by (set, path)."""
    files: dict[tuple[str, str], str | bytes] = {}
    rows = [("pythia", size, f"seed{seed}", step, f"Pile_{n}gram", rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.9))
            for size in ("70m", "1_4b") for seed in ((1, 2) if size == "70m" else (1234,))
            for step in (0, 512, 143000) for n in range(1, 6)]  # fmt: skip
    rows += [("gpt2", "small", "x49 (beren)", 400000, f"OpenWebText_{n}gram", 0.5, 0.5) for n in range(1, 6)]
    rows += [("pythia", "70m", "seed1", 512, "wcd_cc", 0.1, 0.1)]
    names = ["ModelFamily", "ModelSize", "ModelSeed", "ModelStep", "CorrelatingVariable", "PearsonR", "SpearmanRho"]
    files["phases", "analyses/all_cors.tsv"] = pd.DataFrame(rows, columns=names).to_csv(sep="\t", index=False)
    words = pd.DataFrame([(t, w, f"w{(t + w * w) % 40}") for t in range(2) for w in range(130)],
                         columns=["text_id", "word_id", "word"])  # fmt: skip
    drawn = rng.exponential(4, (len(words), 10))
    ngrams = {f"ngram_surprisal_context_{k}": drawn[:, k] for k in range(5)}
    files["naturalstories", f"joint/{TEXT.format('gpt2-small')}/ngram.tsv"] = _tsv(words, ngrams)
    for size, k in (("pythia-70m", 5), ("pythia-14b", 6)):
        short = {f"context_limited_surprisal_context_{c}": drawn[:, c] + drawn[:, k] for c in range(1, 5)}
        files["naturalstories", f"joint/{TEXT.format(size)}/context-limited.tsv"] = _tsv(words, short)
    for size, k in (("pythia-70m", 7), ("pythia-14b", 8), ("pythia-120b", 9)):
        full = {"surprisal": drawn[:, 0] + drawn[:, 1] + drawn[:, k], "surprisal_buggy": drawn[:, 9]}
        files["naturalstories", f"full/suprisal-natural_stories-{size}.tsv"] = _tsv(words, full)
    tokens = rng.integers(1000, 10**6, 50277).astype(np.uint32)
    files["arithmetic", "data/counts.npy"] = _npy(tokens)
    for name in ("pythia-v1.1-70m", "pythia-v1.1-1.4b", "pythia-1.3b"):
        files["arithmetic", f"csv/{name}-deduped/term_frquency_all_shots.csv"] = _scores(name, rng)
    again = {"csv/pythia-v1.1-12b-deduped/term_frquency_all_shots.csv": 0.2}
    again |= {"csv/pythia-v1.1-12b-deduped/term_frquency_all_shots_1.csv": 0.4}
    again |= {"csv/pythia-v1.1-12b-deduped/redoterm_frquency_all_shots.csv": 0.6}
    for path, score in again.items():
        shots = (16,) if "redo" in path else (0, 16)
        files["arithmetic", path] = _scores("pythia-v1.1-12b", rng, score, shots)
    for window in ("10", "100", "counts"):
        for kind, groups in (("gender", ["male", "female", "non-binary"]), ("race", list(GROUPS.values()))):
            table = pd.DataFrame([(code, g, int(rng.integers(1, 10**5))) for code in DISEASES.values() for g in groups],
                                 columns=["Disease", "Demographics", "Counts"])  # fmt: skip
            if window == "counts":
                table = table.pivot(index="Disease", columns="Demographics", values="Counts").reset_index()
                files["crosscare", f"counts/aggregated_{kind}_counts.csv"] = table.to_csv()
            else:
                last = table["Disease"] == DISEASES["acne"]  # not in any window; one pair never seen within 10 words
                unseen = (table["Disease"] == DISEASES["lupus"]) & (table["Demographics"] == groups[0])
                kept = table[~last & ~(unseen & (window == "10"))]
                files["crosscare", f"counts/aggregated_{kind}_{window}.csv"] = kept.to_csv(index=False)
    for model in ("EleutherAI_pythia-70m-deduped", "EleutherAI_pythia-1.4b-deduped", "state-spaces_mamba-130m"):
        for kind, groups in (("gender", ["male", "female", "non-binary"]), ("race", list(GROUPS))):
            said = {d: [[g, (rng.normal(size=20) - 90).tolist()] for g in groups] for d in DISEASES}
            files["crosscare", f"logits/{model}/logits_{kind}.json"] = json.dumps(said)
    return files


def write(folder: Path, files: dict[tuple[str, str], str | bytes]) -> pd.DataFrame:
    """Write the files as a folder of records; the list of them."""
    rows = []
    for (name, path), text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        row = {"set": name, "repo": f"someone/{name}", "commit": COMMIT[name], "path": path, "bytes": len(data),
               "sha256": hashlib.sha256(data).hexdigest(), "licence": "MIT"}  # fmt: skip
        target = folder / place(pd.Series(row))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        rows.append(row)
    return pd.DataFrame(rows)


@contextmanager
def server(folder: Path, faults: dict[str, list]):
    """Serve ``/owner/name/commit/path`` from a folder of records. ``faults``: part of a path to what happens at the
    next requests for it: a status, ``cut`` (the connection ends within the file) or ``other`` (another content)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            path = unquote(self.path)
            asked.append(path)
            owner, name, _, rest = path[1:].split("/", 3)
            found = [p for p in folder.glob(f"*/{owner}+{name}/{rest}") if p.is_file()]
            waiting = next((w for part, w in faults.items() if part in path and w), None)
            fault = waiting.pop(0) if waiting else None
            data = found[0].read_bytes() if found else b"not found"
            data = data[::-1] if fault == "other" else data
            self.send_response(fault if isinstance(fault, int) else 200 if found else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
            self.close_connection = fault == "cut"

    asked: list[str] = []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
    finally:
        running.shutdown()
        running.server_close()


def _tsv(words: pd.DataFrame, columns: dict[str, np.ndarray]) -> str:
    return words.assign(**columns).to_csv(sep="\t", index=False)


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array[None])
    return out.getvalue()


def _scores(name: str, rng: np.random.Generator, score: float | None = None, shots: tuple[int, ...] = (0, 16)) -> str:
    rows = [(f"EleutherAI/{name}-deduped", step, f"num_reasoning_arithmetic_{task}_{k}", shot,
             score if score is not None else rng.integers(0, 51) / 50, 0.01)
            for step in (13000, 143000) for task in ("addition", "multiplication") for shot in shots
            for k in range(100)]  # fmt: skip
    names = ["model", "checkpoint", "task", "fewshot", "acc", "acc_stderr"]
    return pd.DataFrame(rows, columns=names).to_csv(index=False)
