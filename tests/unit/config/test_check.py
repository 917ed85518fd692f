"""Each mistake in the configuration gives one message: field, value, remedy."""

import pytest

from calgrid.config import check as settings
from calgrid.errors import UserError
from support.configuration import changed, paper
from support.workflow import ROOT

MISTAKES = [
    ("grid/models", ["gemma2-2b", "gemma2-2"], "grid.models: 'gemma2-2' is not in `models`; did you mean 'gemma2-2b'?"),
    ("grid/sft_datasets", ["tulu"], "grid.sft_datasets: 'tulu' is not in `sft_datasets`; did you mean 'tulu3'?"),
    ("grid/benchmarks", ["mmlu"], "grid.benchmarks: 'mmlu' is not in `benchmarks`"),
    ("grid/languages", ["en", "xx"], "grid.languages: 'xx' is in no benchmark of the grid; known: af, am, ar"),
    ("grid/languages", "en", "grid.languages: 'en': write a list of languages, or all"),
    ("grid/models", [], "grid.models: empty; give at least one"),
    ("grid/lr", [], "grid.lr: empty; give at least one"),
    ("grid/smoothing", [0.0, 1.0], "grid.smoothing.1: 1.0: label smoothing lies in [0, 1)"),
    ("grid/smoothing", [-0.1], "grid.smoothing.0: -0.1: label smoothing lies in [0, 1)"),
    ("grid/smoothing", ["a little"], "grid.smoothing.0: 'a little': write a number"),
    ("grid/lr", ["1e-5", 0], "grid.lr.1: 0: a learning rate is a positive number"),
    ("grid/lr", ["-1e-5"], "grid.lr.0: '-1e-5': a learning rate is a positive number"),
    ("grid/lr", ["nan"], "grid.lr.0: 'nan': a learning rate is a positive number"),
    ("grid/lr", [True], "grid.lr.0: True: write a number"),
    ("grid/lr", ["1e-5", 0.00001], "grid.lr: 1e-5 stands twice (two spellings of one number count as one)"),
    ("grid/models", ["gemma2-2b", "gemma2-2b"], "grid.models: gemma2-2b stands twice"),
    ("grid/seeds", [True], "grid: seeds: True: write a number; YAML reads yes"),
    ("grid/seeds", [-1], "grid.seeds.0: -1: input should be greater than or equal to 0"),
    (
        "grid/learning_rates",
        [1e-5],
        "grid.learning_rates: unknown key; did you mean 'languages'? known: models, sft_datasets",
    ),
    ("trainign", {}, "trainign: unknown key; did you mean 'training'?"),
    ("training/epoch", 3, "training.epoch: unknown key; did you mean 'epochs'?"),
    ("models/gemma2-2b/revison", "x", "models.gemma2-2b.revison: unknown key; did you mean 'revision'?"),
    ("benchmarks/global_mmlu/language", [], "benchmarks.global_mmlu.language: unknown key; did you mean 'languages'?"),
    ("training/epochs", "two", "training.epochs: 'two': input should be a valid integer"),
    ("models/gemma2-2b/gpus", 0, "models.gemma2-2b.gpus: 0: input should be greater than or equal to 1"),
    (
        "models/gemma2-2b",
        {"hub": "a/b", "revision": "0" * 40, "gpus": 3, "nodes": 2},
        "models.gemma2-2b: gpus: 3 can't be on 2 nodes, as many on each; write a multiple",
    ),
    ("training/long_conversations", "drop", "training.long_conversations: 'drop': input should be 'cut' or 'refuse'"),
    ("device/checkpoint_minutes", -1, "device.checkpoint_minutes: -1: input should be greater than or equal to 0"),
    ("device/checkpoint_minutes", float("inf"), "device.checkpoint_minutes: inf: input should be a finite number"),
    ("training/epsilon", float("inf"), "training.epsilon: inf: input should be a finite number"),
    ("training/dropout", 1.0, "training.dropout: 1.0: input should be less than 1"),
    ("sft_datasets/alpaca/layout", "csv", "sft_datasets.alpaca.layout: 'csv': input should be 'alpaca', 'sharegpt' or"),
    (
        "models/gemma2-2b",
        {"hub": "a/b", "path": "results/x"},
        "models.gemma2-2b: give exactly one of hub, path, pretrain",
    ),
    ("models/gemma2-2b", {}, "models.gemma2-2b: give exactly one of hub, path, pretrain"),
    (
        "models/gemma2-2b",
        {"path": "no/such"},
        "models.gemma2-2b: path: no such folder 'no/such', or an empty one; correct it",
    ),
    ("models/gemma2-2b", {"path": "results/x", "revision": "y"}, "models.gemma2-2b: a revision goes with `hub` only"),
    ("models/..", {"hub": "a/b"}, "models...: '..': use letters, digits"),
    ("models/a b", {"hub": "a/b"}, "models.a b: 'a b': use letters, digits"),
    ("sft_datasets/base", {"hub": "a/b", "layout": "alpaca"}, "sft_datasets.base: 'base': the names 'base'"),
    ("benchmarks/global_mmlu/languages", ["../x"], "benchmarks.global_mmlu.languages.0: '../x': use letters, digits"),
    ("benchmarks/global_mmlu/languages", ["en", "en"], "benchmarks.global_mmlu.languages: 'en' stands twice"),
    (
        "benchmarks/global_mmlu/shards",
        {"a": ["en", "af"]},
        "benchmarks.global_mmlu.shards.a: 'af' is not in benchmarks.global_mmlu.languages",
    ),
    (
        "benchmarks/global_mmlu/shards",
        {"a": ["en", "yo"], "b": ["yo"]},
        "benchmarks.global_mmlu.shards: 'yo' is in both 'a' and 'b'; keep it in one",
    ),
    (
        "benchmarks/global_mmlu/shards",
        {"a": ["en"]},
        "benchmarks.global_mmlu.shards: no shard has am, ar, bn",
    ),
    ("tiers/low", ["yo", "en"], "tiers: 'en' is in both 'high' and 'low'; keep it in one"),
    ("selection/lr", "3e-5", "selection.lr: 3e-5 is not in grid.lr (5e-6, 1e-5, 5e-5, 1e-4); take one of these"),
    ("selection/lr", "best", "selection.lr: 'best': write a number"),
    ("evaluation/headline_benchmark", "mmlu", "evaluation.headline_benchmark: 'mmlu' is not in the grid"),
    ("evaluation/smoothing", [0.3], "evaluation.smoothing: '0.3' is not in the grid"),
    ("evaluation/confidence_method", "margin", "evaluation.confidence_method: 'margin': input should be 'perplexity'"),
    ("scoring/prompt", "Answer:", "scoring: prompt: 'Answer:' must hold {question}"),
    ("scoring/prompt", "{question} {x}", "scoring: prompt: '{question} {x}' must hold {question} and may hold"),
    (
        "scoring/candidate",
        " {",
        "scoring: candidate: ' {': Single '{' encountered in format string; write {{ or }}",
    ),
    ("scoring/cells", "some", "scoring.cells: 'some': input should be 'all' or 'selected'"),
    ("scoring/option", "{letter}.", "scoring: option: '{letter}.' must hold {text}"),
    ("scoring/language", "yo", "scoring.language: 'yo': input should be 'english' or 'native'"),
    ("scoring/prompt", "{question:d}", "scoring: prompt: '{question:d}': write a name alone between braces"),
    ("scoring/prompt", "{question!x}", "scoring: prompt: '{question!x}': "),
    ("scoring/content_free", "N/A", "scoring.content_free: 'N/A': write a list, such as [N/A]"),
    ("scoring/content_free", ["N/A", " "], "scoring.content_free.1: ' ': string should match pattern"),
    ("scoring/content_free", ["N/A", "N/A"], "scoring.content_free: N/A stands twice"),
    ("evaluation/posthoc_share", 1.0, "evaluation.posthoc_share: 1.0: input should be less than 1"),
    (
        "evaluation/posthoc_methods",
        ["letters"],
        "evaluation.posthoc_methods.0: 'letters': input should be",
    ),
    (
        "evaluation/transfer_language",
        "eng",
        "evaluation.transfer_language: 'eng' is in no benchmark; did you mean 'en'?",
    ),
    (
        "evaluation/figure1_languages",
        ["yo", "eng"],
        "evaluation.figure1_languages: 'eng' is in no benchmark; did you mean 'en'?",
    ),
    ("benchmarks/global_mmlu+content_free", {}, "'global_mmlu+content_free': use letters, digits"),
    ("scoring/shots", -1, "scoring.shots: -1: input should be greater than or equal to 0"),
    ("benchmarks/global_mmlu/example_split", "test", "example_split: 'test' is the split that is scored; name another"),
    ("audit/bos", 1, "audit.bos: 1: input should be less than 1"),
    ("audit/same", 0.1, "audit.same: unknown key; did you mean 'same_text'?"),
    ("answer_words/yo", " ", "answer_words.yo: ' ': string should match pattern"),
    ("device/score_attention", "flash", "device.score_attention: 'flash': input should be 'auto', 'eager', 'sdpa' or"),
    ("data/max_rejected_share", 1, "data.max_rejected_share: 1: input should be less than 1"),
    ("grid/smoothing", 0.1, "grid.smoothing: 0.1: write a list, such as [0.1]"),
    ("grid/languages", ["en", False], "grid.languages.1: False: YAML reads yes, no, on and off as true and false"),
    ("training/epochs", True, "training: epochs: True: write a number; YAML reads yes"),
    (
        "models/gemma2-2b",
        {"hub": "https://x/y"},
        "models.gemma2-2b: hub: 'https://x/y' is no Hub id; write one such as",
    ),
    ("models/gemma2-2b", {"hub": ""}, "models.gemma2-2b: hub: '' is no Hub id"),
    ("models/m", {"pretrain": {"architecture": "llama", "tokenizer": "no/such"}}, "tokenizer: no such file or folder"),
    (
        "models/m",
        {"pretrain": {"architecture": "llama", "hidden_size": 17}},
        "pretrain.hidden_size: 17: input should be",
    ),
    ("models/m", {"pretrain": {"architecture": "llama", "corpus": ["x"]}}, "models.m.pretrain.corpus: 'x' is unknown"),
    ("benchmarks/global_mmlu/config", "{lang}", "benchmarks.global_mmlu: config: '{lang}' may hold {language} only"),
    ("benchmarks/global_mmlu/config", "x{", "benchmarks.global_mmlu: config: 'x{': Single '{' encountered"),
    ("benchmarks/global_mmlu/config", "en", "config: 'en' is the same for every language; put {language} into it"),
    ("evaluation/smoothing", [0.1], "evaluation.smoothing: has no 0.0, which tables and tests compare with; add it"),
    ("evaluation/smoothing", [0.0, "0.00"], "evaluation.smoothing: 0.0 stands twice"),
    ("evaluation/table1_sft_datasets", ["tulu"], "evaluation.table1_sft_datasets: 'tulu' is not in `sft_datasets`"),
    ("grid/languages", ["ig"], "grid.languages: benchmark 'mmlu_prox' has none of ig; add a language of it, or take"),
    ("grid", None, "grid: None: write a section, with keys below it"),
    (
        "models/gemma2-2b",
        {"hub": "a/b"},
        "revision: None: a branch or tag may change under your results; write a",
    ),
    (
        "sft_datasets/alpaca/revision",
        "main",
        "revision: 'main': a branch or tag may change under your results",
    ),
    ("scoring/prompt", "{question}\0", "'{question}\\x00': holds the character '\\x00', which no file or"),
    ("scoring/prompt", "{question}" * 9999, "a text of 99990 characters; write at most 20000"),
    ("training/epochs", 10**50, f"training.epochs: 1{50 * '0'}: larger than any number here can be (10000000000000)"),
    ("training/weight_decay", float("nan"), "training.weight_decay: nan: write a number"),
    ("training/weight_decay", float("inf"), "training.weight_decay: inf: input should be a finite number"),
    ("benchmarks/global_mmlu/split", "-x", "split: '-x': write a name that is not empty and does not begin with '-'"),
    ("models/" + "x" * 101, {"hub": "a/b"}, "use at most 100 characters; file systems take no longer names"),
    ("tiers/low", ["a,b"], "tiers.low.0: 'a,b': use letters, digits"),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[f"{m[0]}={m[1]}"[:80] for m in MISTAKES])
def test_a_mistake_is_named(path, value, message):
    with pytest.raises(UserError) as error:
        settings.load(changed(path, value))
    assert message in str(error.value)
    assert len(str(error.value)) < 2000


def test_a_configuration_that_holds_itself_is_named():
    raw = paper()
    raw["grid"]["models"] = raw["grid"]
    with pytest.raises(UserError, match=r"grid.models: holds itself, by an anchor of YAML; write it out"):
        settings.load(raw)
    deep: list = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(UserError, match="nested deeper than any section is"):
        settings.load(changed("grid/lr", deep))


def test_files_are_merged_as_snakemake_merges_them(tmp_path):
    extra = tmp_path / "extra.yaml"
    extra.write_text("grid: {lr: [1e-5], seeds: [0, 1]}\n")
    found = settings.read([ROOT / "config/config.yaml", extra])
    assert (found.grid.lr, found.grid.seeds) == (("1e-5",), (0, 1))
    assert found.grid.models == ("gemma2-2b", "mistral-7b", "llama3.1-8b")
    for text in ("grid: [", "- 1", "3", "\0", "a: !!python/object/apply:os.system [id]"):
        extra.write_text(text)
        with pytest.raises(UserError, match=r"extra.yaml: not readable as a configuration"):
            settings.read([ROOT / "config/config.yaml", extra])


def test_mistakes_come_with_their_files(tmp_path):
    files = [ROOT / "config/config.yaml", tmp_path / "extra.yaml"]
    files[1].write_text(
        "grid: {lr: [1e-5]}\nmodels: {gemma2-2b: {path: /data/gemma}}\ngrid: {seeds: [0], seeds: [1]}\n"
    )
    with pytest.raises(UserError) as error:
        settings.read(files)
    for line in ("grid: stands twice; put both together", "grid.seeds: stands twice; put both together"):
        assert f"\n  {files[1]}: {line}\n" in str(error.value)
    assert str(error.value).endswith(f"\nIt is made of: {files[0]}, {files[1]}")
    files[1].write_text("models: {gemma2-2b: {path: /data/gemma}}\n")
    with pytest.raises(UserError, match=r"to replace what config/config.yaml has: `hub: null, revision: null` beside"):
        settings.read(files)
    files[1].write_text(f"models: {{gemma2-2b: {{path: {ROOT}, hub: null, revision: null}}}}\n")
    assert settings.read(files).models["gemma2-2b"].path == str(ROOT)


def test_every_mistake_is_reported_at_once():
    raw = changed("grid/models", ["gema"])
    raw["training"]["epoch"] = 2
    raw["grid"]["smoothing"] = [2]
    with pytest.raises(UserError) as error:
        settings.load(raw)
    assert "training.epoch" in str(error.value)
    assert "grid.smoothing.0" in str(error.value)


def test_an_unusable_item_does_not_make_its_list_empty():
    with pytest.raises(UserError) as error:
        settings.load(changed("grid/lr", [0]))
    assert "empty" not in str(error.value)


def test_a_native_word_needs_a_place_in_the_prompt():
    raw = paper()
    raw["scoring"] |= {"prompt": "{question}\n{options}\nAnswer:", "language": "native"}
    with pytest.raises(
        UserError, match=r"scoring: language: native: puts \{answer_word\} into the benchmark's language"
    ):
        settings.load(raw)


def test_few_shot_and_native_prompts_need_examples_and_words():
    raw = paper()
    raw["scoring"] |= {"shots": 5, "language": "native"}
    settings.load(raw)
    del raw["benchmarks"]["mmlu_prox"]["example_split"], raw["answer_words"]["wo"]
    with pytest.raises(UserError) as raised:
        settings.load(raw)
    assert str(raised.value).split("\n  ")[1:] == [
        "answer_words: none for wo, which scoring.language native needs; add them",
        "benchmarks.mmlu_prox: has no example_split, which scoring.shots 5 takes; add it",
    ]


def test_a_smaller_selection_needs_nothing_else():
    settings.load(changed("grid/sft_datasets", ["alpaca"]))


def test_missing_sections_are_named():
    raw = paper()
    del raw["grid"]
    with pytest.raises(UserError, match="grid: missing"):
        settings.load(raw)


def test_numbers_have_one_spelling():
    grid = settings.load(changed("grid/lr", ["5e-06", 0.00001, "1.5e-5", "0.0001"])).grid
    assert grid.lr == ("5e-6", "1e-5", "1.5e-5", "1e-4")
    assert settings.load(changed("grid/smoothing", [0, "0.10", 0.2])).grid.smoothing == ("0.0", "0.1", "0.2")


def test_the_papers_grid():
    config = settings.load(paper())
    assert len(config.grid.models) * len(config.grid.sft_datasets) * 3 * len(config.grid.lr) == 108
    assert len(config.benchmarks["global_mmlu"].languages) == 42
    assert len(config.benchmarks["mmlu_prox"].languages) == 29
    for entry in [*config.models.values(), *config.sft_datasets.values(), *config.benchmarks.values()]:
        assert entry.revision
        assert len(entry.revision) == 40
