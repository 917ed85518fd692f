"""What the tests of training share."""

import pytest

import fetch_base_model
from support.models import save_tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_tiny(folder / "weights", "llama")
    fetch_base_model.main(["--path", str(folder / "weights"), "--output", str(folder / "base.json")])
    return folder / "base.json"
