"""Verification of what is not there yet, and of a configuration that cannot be used."""

import subprocess
import sys

from calgrid.config import check
from calgrid.verify.findings import Finding, verify
from support.workflow import ROOT, TINY


def test_nothing_is_there_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    findings = verify(check.read([ROOT / "config/config.yaml", *TINY]), ["snakemake"])[1]
    assert findings == [Finding("missing", "results", "not made yet: all of 22", "snakemake -- all_tables", count=22)]


def test_a_configuration_that_cannot_be_used_is_one_message(tmp_path, capsys, monkeypatch):
    bad = tmp_path / "bad.yaml"
    for text, message in (
        ("a: [", "not readable as a configuration"),
        ("grid: {lr: fast}", "grid.lr"),
        ("- 1", "bad.yaml"),
    ):
        bad.write_text(text)
        done = subprocess.run(
            [sys.executable, str(ROOT / "workflow/scripts/verify_results.py"), "--configfile", str(bad)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
