"""Where every artifact lies. Each function takes a cell's path, or the wildcard pattern of one."""

import re
from collections.abc import Iterable

from calgrid.cell import Cell
from calgrid.vocabulary import CLDR_CORPUS, CONTENT_FREE


def content_free(benchmark: str) -> str:
    """The name under which a benchmark's content-free prompts are prepared, tokenised and scored like a benchmark."""
    return f"{benchmark}{CONTENT_FREE}"


def configured(benchmark: str) -> str:
    """The benchmark in the configuration: itself, or the one that content-free prompts go with."""
    return benchmark.removesuffix(CONTENT_FREE)


def base_record(model: str) -> str:
    return f"results/models/{Cell(model).path}/base.json"


def train_record(cell: str) -> str:
    return f"results/models/{cell}/train.json"


def weights(cell: str) -> str:
    return f"results/models/{cell}/model"


def examples(benchmark: str, language: str) -> str:
    return f"results/data/examples/{benchmark}/{language}.parquet"


def tokens(prompt: str, benchmark: str, model: str, shard: str) -> str:
    return f"results/tokens/prompt={prompt}/benchmark={benchmark}/model={model}/{shard}.parquet"


def audit(model: str) -> str:
    return f"results/audits/{model}.json"


def scores(benchmark: str, cell: str, shard: str) -> str:
    return f"results/scores/benchmark={benchmark}/{cell}/{shard}.parquet"


def metrics(benchmark: str, cell: str) -> str:
    return f"results/metrics/benchmark={benchmark}/{cell}/metrics.parquet"


def posthoc(benchmark: str, cell: str) -> str:
    return f"results/posthoc/benchmark={benchmark}/{cell}/posthoc.parquet"


def packed(model: str, sft: str) -> str:
    return f"results/packed/model={model}/{sft}.parquet"


def sft_data(sft: str) -> str:
    return f"results/data/sft/{sft}.parquet"


def benchmark_data(benchmark: str, language: str) -> str:
    return f"results/data/benchmarks/{benchmark}/{language}.parquet"


def manifest(data: str) -> str:
    """The small record beside a prepared data file: what it holds, and a hash of that."""
    return re.sub(r"\.parquet$", ".json", data)


def corpus(names: Iterable[str]) -> list[str]:
    """The files that a tiny model is pretrained on."""
    return ["results/demo/corpus.parquet" if name == CLDR_CORPUS else sft_data(name) for name in names]
