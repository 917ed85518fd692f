"""What the tests of the report share."""

import pytest

from support.report import Report


@pytest.fixture(scope="module")
def made(built_store):
    return Report(built_store())


@pytest.fixture(scope="module")
def html(made):
    return made.output.read_text()
