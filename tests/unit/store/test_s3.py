"""Results on S3: whose results a folder holds, and what is not taken for a place on S3."""

import contextlib
import io
import tarfile
from pathlib import Path

import pytest

from calgrid.errors import UserError
from calgrid.store import s3


def test_results_that_are_kept_here_are_not_taken_for_copies(tmp_path):
    results = tmp_path / "results"
    (results / "models").mkdir(parents=True)
    with pytest.raises(UserError, match=r"results/ holds results that are kept here.*s3://a/b/; take another folder"):
        s3.claim(results, "s3://a/b/")
    assert not (results / ".store").exists()
    s3.claim(results, None)


def test_copies_are_not_taken_for_results(tmp_path):
    results = tmp_path / "results"
    s3.claim(results, "s3://a/b/")
    s3.claim(results, "s3://a/b/")
    with pytest.raises(UserError, match=r"copies of s3://a/b/, and this run keeps its results here; write --default-"):
        s3.claim(results, None)
    with pytest.raises(UserError, match=r"copies of s3://a/b/, and this run keeps its results s3://a/c/"):
        s3.claim(results, "s3://a/c/")


@pytest.mark.parametrize(
    "prefix", [None, "", "bucket/folder", "s3://", "gs://bucket", "s3://bucket/a/../b", "s3://b/a?c"]
)
def test_a_prefix_that_is_none_is_refused(prefix):
    with pytest.raises(UserError, match="not a place on S3; write s3://BUCKET/FOLDER"):
        s3.parse(prefix)


def test_a_prefix_is_a_bucket_and_the_beginning_of_keys():
    assert s3.parse("s3://bucket") == s3.parse("s3://bucket/") == ("bucket", "")
    assert s3.parse("s3://bucket/a/b") == s3.parse("s3://bucket/a/b/") == ("bucket", "a/b/")


def test_other_storage_than_s3_is_refused(tmp_path):
    class Settings:
        default_storage_provider, default_storage_prefix = "gcs", "gs://bucket"

    class OnOther:
        storage_settings = Settings

        class storage_registry:
            default_storage_provider = object()

    with pytest.raises(UserError, match="--default-storage-provider gcs: results are kept here or on S3"):
        s3.use(OnOther)


@pytest.mark.parametrize("name", ["../outside", "/tmp/calgrid-outside"])
def test_records_stay_in_their_folder(tmp_path, monkeypatch, name):
    class Client:
        class exceptions:
            NoSuchKey = KeyError

        def get_object(self, **_):
            body = io.BytesIO()
            with tarfile.open(fileobj=body, mode="w:gz") as archive:
                member = tarfile.TarInfo(name)
                member.size = 1
                archive.addfile(member, io.BytesIO(b"x"))
            return {"Body": io.BytesIO(body.getvalue())}

    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(UserError):
        s3.Records(Client(), "bucket", "").fetch()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "metadata" not in path.parts]
    assert not Path("/tmp/calgrid-outside").exists()
