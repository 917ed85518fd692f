"""The plan as a page."""

from calgrid.config.check import load
from calgrid.plan import estimate
from calgrid.plan import page as plan_page
from support.plan import job, small


def test_the_page_says_of_which_command_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = estimate.make(["all_tables"], load(small()), [job("prepare_sft", sft="tulu3")])
    html = plan_page.page(found, ["--snakefile", "Snakefile", "--configfiles", "a.yaml", "b.yaml", "--config", "x=1"])
    for text in (
        "Configuration: config/config.yaml, and over it a.yaml, b.yaml.",
        "snakemake all_tables --snakefile Snakefile --configfiles a.yaml b.yaml --config x=1",
        "GPU time left",
    ):
        assert text in html
    assert "Configuration: config/config.yaml." in plan_page.page(found)


def test_what_comes_from_outside_is_escaped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(small())
    found = estimate.make(["results/<script>x</script>"], config, [job("prepare_sft", sft="tulu3")])
    assert "<script" not in plan_page.page(found)
