"""Nothing hostile on the command line or in the configuration reaches a shell, and no secret is written down."""

import json
import os
import re

import pytest

from calgrid.store import files
from support.workflow import Workflow


@pytest.mark.parametrize("target", ["seed=0;touch x", "seed=$(touch x)", "seed=0 0", "seed=../x"])
def test_a_target_on_the_command_line_cannot_smuggle_words_into_a_training(tmp_path, target):
    cell = f"model=gemma2-2b/sft=alpaca/smoothing=0.1/lr=1e-5/{target}"
    done = Workflow(tmp_path).run(f"results/models/{cell}/train.json", "--dry-run", check=False)
    assert done.returncode
    assert "shell:" not in done.stdout


def test_a_finished_store_has_no_secret_of_the_environment_in_its_provenance(finished):
    secret = re.compile("TOKEN|SECRET|KEY|PASSWORD")
    values = {value for name, value in os.environ.items() if secret.search(name) and len(value) > 8}
    for path in (finished.folder / "results").rglob("*.parquet"):
        text = json.dumps(files.read_metadata(path))
        assert not any(value in text for value in values)
