"""How long the program that scores takes to its first batch, as the workflow runs it."""

import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
FIRST = " questions/s"  # the program's first line of progress, logged when a batch is done


def run(program: str, *arguments: str | Path) -> None:
    command: list[str | Path] = [sys.executable, SCRIPTS / program, *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr}")


def seconds(model: Path, data: Path | None, folder: Path) -> tuple[float, float]:
    """From the start of `score_shard.py` to its first scored batch, and to its end, on real questions."""
    source = ("--path", data / "hub/cais/mmlu") if data else ("--hub", "cais/mmlu")
    questions, base, tokens = folder / "dev.parquet", folder / "base.json", folder / "tokens.parquet"
    manifest = folder / "manifest.json"
    output = folder / "benchmark=mmlu/model=tiny/sft=base/smoothing=none/lr=none/seed=0/en.parquet"
    run(
        "prepare_benchmark.py",
        *(*source, "--language", "en", "--layout", "mmlu", "--config", "all", "--split", "dev"),
        *("--output", questions, "--manifest", manifest),
    )
    run("fetch_base_model.py", "--path", model, "--output", base)
    run(
        "tokenize_benchmark.py",
        *("--model", base, "--benchmark", "mmlu", "--questions", f"en={questions}"),
        *("--output", tokens, "--manifest", manifest),
    )
    command = [sys.executable, str(SCRIPTS / "score_shard.py"), "--model", str(base), "--tokens", str(tokens)]
    command += ["--output", str(output), "--finished", str(folder / "finished")]
    started = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        log = [(time.perf_counter() - started, line) for line in process.stderr]
    whole = time.perf_counter() - started
    first = [passed for passed, line in log if FIRST in line]
    if process.returncode or not first:
        raise RuntimeError("score_shard.py: " + "".join(line for _, line in log))
    return first[0], whole
