"""Benchmarks of scoring, recorded: python -m tests.benchmarks.scoring [--device cuda --shapes NAME ...] [--out FOLDER]

Real MMLU questions and GSM8K solutions under models of Pythia's shapes with random weights. On a CPU: pythia-70m,
beside lm-evaluation-harness and the way of the paper's code; with --device cuda ours alone, in bfloat16. Writes
scoring.csv (or scoring_cuda.csv), a row for each way to do each job, and its note, which says how it was made.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import torch

from taskgram_utils.errors import require
from taskgram_utils.language_models import neural
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.texts import write_text
from tests.benchmarks import score_jobs
from tests.benchmarks.harness import processor, timed

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"
PACKAGES = ("numpy", "pandas", "torch", "transformers", "tokenizers", "lm_eval", "taskgram_utils")


# Weights are read in place, from a mapped file, and count as they are read.
MEMORY = r"""
import json, re, sys
import pandas as pd
import transformers.models.gpt_neox.modeling_gpt_neox
from taskgram_utils.language_models import neural
from tests.benchmarks.score_jobs import batch_bytes


def most():
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])


table = pd.read_json(sys.argv[2], lines=True, dtype={"example_id": str})
before = most()
model = neural.load(sys.argv[1], dtype="float32", device="cpu")
loaded = most() - before
neural.score(table, model)
weights = sum(p.numel() * p.element_size() for p in model.network.parameters())
said = {"added": most() - before, "loaded": loaded, "weights": weights, "batch": batch_bytes(model)}
print(json.dumps(said))
"""


def on_cpu(data: Path, quick: bool, rounds: int) -> pd.DataFrame:
    """The benchmarks on this machine's cores, the share of its matrix products, and the memory that scoring takes."""
    model = score_jobs.pythia("pythia-70m", data / "tokenizers/20B_tokenizer.json")
    rows = []
    for job, operations, read in score_jobs.jobs(model, data, quick):
        peak = score_jobs.matrix_peak("cpu", torch.float32, quick)
        for row in timed(job, rounds):
            ours = {"share_of_peak": operations / row["seconds"] / peak, "tokens": read} if row["way"] == "ours" else {}
            rows.append({"shape": model.name, **row, **ours, "peak": peak})
            print(f"{row['job']}: {row['way']}: {row['rate']:,.1f} {row['unit']}/s; ours {row['ours']:.2f}", flush=True)
    return pd.DataFrame([*rows, memory(data, quick)])


def memory(data: Path, quick: bool) -> dict:
    """The most memory that loading and scoring add to a fresh process, beside the weights and the largest batch."""
    with tempfile.TemporaryDirectory() as folder:
        model = score_jobs.pythia("pythia-70m" if quick else "pythia-160m", data / "tokenizers/20B_tokenizer.json")
        model.network.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        table = Path(folder) / "solutions.jsonl"
        score_jobs.solutions(data, 20 if quick else 200).to_json(table, orient="records", lines=True)
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", MEMORY, folder, table], capture_output=True, text=True, cwd=ROOT)
        require(done.returncode == 0, f"memory: {done.stderr[-500:]}")
        said, took = json.loads(done.stdout), time.perf_counter() - began
    return {"shape": model.name, "job": "memory", "way": "ours", "seconds": took, "peak_megabytes": said["added"] / 1e6,
            "loaded_megabytes": said["loaded"] / 1e6, "weights_megabytes": said["weights"] / 1e6,
            "batch_megabytes": said["batch"] / 1e6}  # fmt: skip


def again(path: Path, row: dict) -> None:
    """Put a new measurement of the memory in the place of the recorded one; the note says when it was made."""
    note, table = json.loads(path.with_suffix(".json").read_text()), pd.read_csv(path)
    write_table(pd.concat([table[table["job"] != row["job"]], pd.DataFrame([row])]), path)
    note["again"] = {"command": "python -m tests.benchmarks.scoring --memory", "date": time.strftime("%Y-%m-%d")}
    note["sha256"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    write_text(path.with_suffix(".json"), json.dumps(note, indent=1) + "\n")


def on_gpu(data: Path, shapes: list[str], quick: bool, rounds: int) -> pd.DataFrame:
    """Options and solutions on a GPU in bfloat16: tokens a second, the share of its matrix products, the memory."""
    device, dtype, rows = "cuda", torch.bfloat16, []
    for shape in shapes:
        model = score_jobs.pythia(shape, data / "tokenizers/20B_tokenizer.json", device, dtype)
        many = 20 if quick else 2000
        for name, examples, options in (
            ("options", score_jobs.questions(data, model, many), True),
            ("options, 5-shot", score_jobs.questions(data, model, many // 2, score_jobs.SHOTS), True),
            ("solutions", score_jobs.solutions(data, many), False),
        ):
            peak, took = score_jobs.matrix_peak(device, dtype, quick), []
            read, operations = score_jobs.work(model, examples, options)
            batch = score_jobs.batch_bytes(model)
            torch.cuda.reset_peak_memory_stats()
            for turn in range(rounds + 1):
                began = time.perf_counter()
                table = neural.score(examples, model, options=options)
                torch.cuda.synchronize()
                if turn:
                    took.append(time.perf_counter() - began)
            require((table["logp"] < 0).all(), f"{shape}: a log P that is not below 0")
            middle = float(pd.Series(took).median())
            weights = sum(p.numel() * p.element_size() for p in model.network.parameters())
            rows.append({"shape": shape, "job": name, "way": "ours", "amount": len(examples), "unit": "examples",
                         "seconds": middle, "low": min(took), "high": max(took), "rounds": rounds,
                         "rate": len(examples) / middle, "tokens": read, "tokens_a_second": read / middle,
                         "share_of_peak": operations / middle / peak, "peak": peak,
                         "peak_megabytes": torch.cuda.max_memory_allocated() / 1e6, "weights_megabytes": weights / 1e6,
                         "batch_megabytes": batch / 1e6})  # fmt: skip
            print({k: v for k, v in rows[-1].items() if k not in ("way", "unit")}, flush=True)
        del model
        torch.cuda.empty_cache()
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few questions: to see that all works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="only the memory, in the place of what is recorded of it")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=list(score_jobs.SHAPES), default=["pythia-160m"])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of gsm8k, mmlu and tokenizers")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    require(options.rounds > 0, "--rounds: at least 1")
    began, name = time.time(), "scoring" if options.device == "cpu" else "scoring_cuda"
    if not (options.data / "mmlu").is_dir():
        print(f"{options.data}: no mmlu, gsm8k and tokenizers there (--data); scoring is not measured", file=sys.stderr)
        return
    path = options.out / f"{name}.csv"
    if options.memory:
        again(path, memory(options.data, options.quick))
        return
    if options.device == "cpu":
        torch.set_num_threads(psutil.cpu_count(logical=True) or 1)
        table, chip = on_cpu(options.data, options.quick, options.rounds), processor()
    else:
        table = on_gpu(options.data, options.shapes, options.quick, options.rounds)
        chip = torch.cuda.get_device_name()
    options.out.mkdir(parents=True, exist_ok=True)
    write_table(table, path)
    extra = "" if options.device == "cpu" else f" --device cuda --shapes {' '.join(options.shapes)}"
    note = {
        "command": f"python -m tests.benchmarks.scoring{extra}", "quick": options.quick, "rounds": options.rounds,
        "date": time.strftime("%Y-%m-%d"), "seconds": round(time.time() - began),
        "machine": f"{platform.machine()}, {platform.system()}", "processor": chip,
        "threads": torch.get_num_threads(), "versions": versions(PACKAGES),
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(options.out / f"{name}.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
