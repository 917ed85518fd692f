"""What the tests of training share."""

import pytest

from support.training import save_base
from support.training_job import pack_answers


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def packed(base, tmp_path_factory):
    return pack_answers(base, tmp_path_factory.mktemp("data"))
