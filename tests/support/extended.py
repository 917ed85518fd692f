"""Asks an extended copy of the library, in a process of its own: `python extended.py '[[WHAT, ARGUMENT, ...], ...]'`.

The copy and the tests' helpers are on the path (PYTHONPATH). Prints the answers, as JSON.
"""

import json
import sys
from pathlib import Path

from calgrid.config import check
from calgrid.errors import UserError
from support.configuration import changed
from support.synthetic_store import Store


def refused(path: str, value: object) -> list[str]:
    """What the configuration's checks say about a value at a path; nothing where it is accepted."""
    try:
        check.load(changed(path, value))
    except UserError as error:
        return str(error).splitlines()
    return []


def tables(folder: str, *flags: str) -> str:
    """Measure a small store, and write the overall tables of it with some flags."""
    import write_overall_tables

    store = Store(
        Path(folder),
        models=("tiny-a",),
        sft=("tulu3",),
        smoothing=("0.0", "0.1"),
        lr=("1e-5",),
        benchmarks=(("four", 4, 4),),
    ).build()
    write_overall_tables.main(
        [
            *("--models", *store.models, "--sft", *store.sft, "--smoothings", *store.smoothing),
            *("--selection", str(store.selection), "--metrics", *map(str, store.metrics("four"))),
            *("--benchmarks", "four", "--table1-sft-datasets", *store.sft),
            *("--significance", str(store.significance("four")), "--output-dir", f"{folder}/results/tables"),
            *flags,
        ]
    )
    return f"{folder}/results/tables"


def prepare(program: str, layout: str, source: str, output: str) -> str:
    """Read the rows of a folder by a layout."""
    import prepare_benchmark
    import prepare_sft

    shared = ["--path", source, "--layout", layout, "--output", output, "--manifest", output + ".json"]
    if program == "prepare_benchmark":
        prepare_benchmark.main([*shared, "--language", "en"])
    else:
        prepare_sft.main([*shared, "--validation-share", "0.2"])
    return output


def most_options(layout: str) -> int:
    """What the plan takes for the options of a question."""
    from calgrid.plan.sizes import Sizes

    return Sizes(check.load(changed("benchmarks/global_mmlu/layout", layout)), {}).options("global_mmlu")


def attends(architecture: str) -> list[float]:
    """How far a tiny model of an architecture, taken as training and as scoring take it, is from transformers' own."""
    import torch

    from calgrid.models import attention, loading
    from calgrid.training.pretrain import build_model
    from calgrid.training.settings import Pretraining
    from support.models import tiny_tokenizer

    torch.manual_seed(0)
    words = tiny_tokenizer()
    model = build_model(words, Pretraining(architecture=architecture)).eval()
    tokens, places = torch.randint(3, len(words), (1, 100)), torch.arange(100)[None]
    with torch.no_grad():
        plain = model(tokens).logits
        mask = loading.attention_masks(model, places.unsqueeze(2) >= places.unsqueeze(1), places, places)
        scored = loading.hidden_states(model, input_ids=tokens, position_ids=places, attention_mask=mask)
        model.set_attn_implementation(attention.NAME)
        trained = loading.hidden_states(model, input_ids=tokens, position_ids=places, blocks=attention.blocks_of([100]))
        assert plain.abs().max() > 0
        return [(model.lm_head(hidden) - plain).abs().max().item() for hidden in (scored, trained)]


QUESTIONS = {function.__name__: function for function in (refused, tables, prepare, most_options, attends)}

if __name__ == "__main__":
    print(json.dumps([QUESTIONS[what](*arguments) for what, *arguments in json.loads(sys.argv[1])]))
