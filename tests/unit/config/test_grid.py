import pytest

from calgrid.cell import Cell
from calgrid.config import check as settings
from calgrid.config import grid
from calgrid.errors import UserError
from calgrid.store import paths
from support.configuration import changed, paper

CONFIG = settings.load(paper())


def test_paths_name_their_cell():
    cell = Cell("gemma2-2b", "tulu3", "0.1", "1e-5", "0")
    assert cell.path == "model=gemma2-2b/sft=tulu3/smoothing=0.1/lr=1e-5/seed=0"
    assert Cell.parse(f"results/scores/benchmark=x/{cell.path}/low.parquet") == cell
    assert Cell.parse(paths.base_record("gemma2-2b")).is_base
    with pytest.raises(UserError, match=r"not the path of a cell; no sft=\.\.\. in it"):
        Cell.parse("results/model=x/file")


def test_cells_of_the_papers_grid():
    assert len(grid.tuned_cells(CONFIG)) == 108
    assert len(grid.cells(CONFIG)) == len(set(grid.cells(CONFIG))) == 111


def test_default_shards_are_the_tiers_and_hold_each_language_once():
    for benchmark in CONFIG.grid.benchmarks:
        shards = grid.shards(CONFIG, benchmark)
        assert list(shards) == ["high", "mid", "low"]
        members = [language for languages in shards.values() for language in languages]
        assert sorted(members) == sorted(CONFIG.benchmarks[benchmark].languages)
    assert grid.shard_of(CONFIG, "global_mmlu", "yo") == "low"


def test_languages_in_no_tier_form_a_shard():
    config = settings.load(changed("tiers", {"high": ["en"]}))
    assert grid.shards(config, "mmlu_prox")["high"] == ["en"]
    assert len(grid.shards(config, "mmlu_prox")["other"]) == 28


def test_a_smaller_selection_takes_fewer_shards_but_scores_them_whole():
    config = settings.load(changed("grid/languages", ["yo", "sw"]))
    assert grid.shards_in_grid(config, "global_mmlu") == ["low"]
    assert grid.shards(config, "global_mmlu") == grid.shards(CONFIG, "global_mmlu")
    assert grid.languages(config, "global_mmlu") == ["sw", "yo"]


def test_an_unknown_language_lists_the_known_ones():
    with pytest.raises(
        UserError, match=r"language 'xx' is not in benchmark 'mmlu_prox' of the grid; there are: af, ar"
    ):
        grid.shard_of(CONFIG, "mmlu_prox", "xx")
    with pytest.raises(UserError, match="benchmark 'mmlu' is not in the grid; there are: global_mmlu, mmlu_prox"):
        grid.shard_of(CONFIG, "mmlu", "en")
