"""Results on S3-compatible storage, through Snakemake's storage plugin; docs/s3.md says how to use it.

`results/` in the working folder then holds copies of what lies under the storage prefix. A file has the same path with
storage as without it, so that rules, commands, records and provenance don't know where results are kept.

Imported whenever the Snakefile is parsed: nothing heavy here.
"""

import atexit
import sys
import tarfile
import time
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from calgrid.errors import UserError
from calgrid.store import files

RESULTS = Path("results")
FOLDER = Path(".snakemake")
STORE = ".store"  # in a folder of copies: of which storage they are
SECONDS = 5  # to connect, and to wait for an answer, when the storage is looked at before anything else

REFUSED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
ELSEWHERE = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


def use(workflow: Any) -> None:
    """Let the rules that follow keep their results where the command line says: here, or on S3.

    Raises UserError, within seconds, where the storage can't be used, and where `results/` belongs to another one.
    """
    provider = workflow.storage_registry.default_storage_provider
    name = workflow.storage_settings.default_storage_provider
    if provider is None:
        claim(RESULTS, None)
        return
    if name != "s3":
        raise UserError(f"--default-storage-provider {name}: results are kept here or on S3; write s3, or leave it out")
    bucket, prefix = parse(workflow.storage_settings.default_storage_prefix)
    if workflow.is_main_process:
        client = check(bucket, prefix, provider.settings)
    claim(RESULTS, f"s3://{bucket}/{prefix}")
    if workflow.is_main_process:
        records = Records(client, bucket, prefix)
        records.fetch()
        atexit.register(records.store)

    from calgrid.store.s3_objects import StoredResult

    provider.local_prefix, provider.prefix, provider.found, provider.copies = Path(), prefix, {}, {}
    provider.get_storage_object_cls = lambda: StoredResult
    modifier = workflow.modifier.path_modifier
    modifier.modify = partial(_modify, modifier, modifier.modify)


def readable(file: Any) -> str | Path:
    """Where a result can be read while jobs are planned: it is there itself, or on S3 and a copy is fetched."""
    return file.storage_object.copy_aside(FOLDER / "storage") if file.is_storage else file


def _modify(modifier: Any, modify: Any, path: Any, property: str | None = None) -> Any:
    """Snakemake's `modify`, which forgets the storage of a file whose local copy has the path that the rule names."""
    from snakemake.io import flag, get_flag_value
    from snakemake.path_modifier import PATH_MODIFIER_FLAG

    modified = modify(path, property)
    if modified is not path or get_flag_value(path, PATH_MODIFIER_FLAG) or get_flag_value(path, "local"):
        return modified
    stored = modifier.apply_default_storage(path)
    return path if stored is path else flag(stored, PATH_MODIFIER_FLAG)


def parse(prefix: str | None) -> tuple[str, str]:
    """Bucket and beginning of the keys of `--default-storage-prefix`; the latter ends with a slash or is empty."""
    parts = urlsplit(prefix or "")
    key = parts.path.strip("/")
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or ".." in key.split("/"):
        raise UserError(f"--default-storage-prefix {prefix}: not a place on S3; write s3://BUCKET/FOLDER")
    return parts.netloc, f"{key}/" if key else ""


def claim(folder: Path, store: str | None) -> None:
    """Refuse a results folder that belongs to another storage, or else note whose it is.

    Snakemake removes local copies that it needs no more, or that it is going to make anew: where they are taken for
    copies, results that lie in `folder` alone would be lost.

    Args:
        folder: `results/`.
        store: where results are kept, `s3://bucket/prefix/`, or None for here.
    """
    note = folder / STORE
    held = note.read_text(encoding="utf-8").strip() if note.is_file() else None
    if held == store:
        return
    if held:
        remedy = f"write --default-storage-provider s3 --default-storage-prefix {held}, or take another folder"
        raise UserError(f"{folder}/ holds copies of {held}, and this run keeps its results {store or 'here'}; {remedy}")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"{folder}/ holds results that are kept here, and this run keeps its results in {store}; take another "
            "folder (--directory), or move them away (docs/s3.md says how to take them along)"
        )
    files.write_text(note, f"{store}\n")


class Records:
    """What Snakemake notes in the working folder about how each file was made, as one object beside the results.

    By it, Snakemake knows in another folder, too, what was made with other settings, or from fewer files.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self.client, self.bucket, self.key = client, bucket, f"{prefix}{FOLDER / 'metadata.tar.gz'}"
        self.folder = FOLDER.absolute()  # when Snakemake ends, it is elsewhere
        self.started = time.time()

    def fetch(self) -> None:
        """Take those that are newer than what is here."""
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=self.key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return
        for name in ("metadata", "incomplete"):  # the one without the other is of an old version, to Snakemake
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(fileobj=BytesIO(body)) as archive:
                for member in archive:
                    here = self.folder / "metadata" / member.name
                    if not here.exists() or here.stat().st_mtime < member.mtime:
                        archive.extract(member, self.folder / "metadata", filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UserError(
                f"s3://{self.bucket}/{self.key}: not readable ({error}); delete it, and run in the folder of before, "
                "which stores it again"
            ) from None

    def store(self) -> None:
        """Called when Snakemake ends; where it has made nothing, there is nothing to store."""
        paths = [path for path in (self.folder / "metadata").rglob("*") if path.is_file()]
        if not any(path.stat().st_mtime > self.started for path in paths):
            return
        body = BytesIO()
        with tarfile.open(fileobj=body, mode="w:gz") as archive:
            for path in paths:
                archive.add(path, path.relative_to(self.folder / "metadata"))
        try:
            self.client.put_object(Bucket=self.bucket, Key=self.key, Body=body.getvalue())
        except Exception as error:  # of whatever kind, this is the last that is done
            print(
                f"s3://{self.bucket}/{self.key}: not stored ({error}); the next run here that makes anything stores it",
                file=sys.stderr,
            )


def check(bucket: str, prefix: str, settings: Any) -> Any:
    """Ask the storage for one name under the prefix, as the plugin would.

    Args:
        bucket: name.
        prefix: beginning of the keys.
        settings: of the plugin.

    Returns: a client of the storage that waits no longer than `SECONDS`.

    Raises UserError where it doesn't answer, refuses the credentials or has no such bucket, and for credentials that
    would find their way into the commands of jobs.
    """
    import boto3
    from botocore import exceptions
    from botocore.config import Config

    keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    for name in ("access_key", "secret_key", "token"):
        if getattr(settings, name) is not None:
            flag = f"SNAKEMAKE_STORAGE_S3_{name.upper()} or --storage-s3-{name.replace('_', '-')}"
            raise UserError(
                f"{flag}: Snakemake writes it into the commands of jobs, for all users of a machine to see; "
                f"unset it, and set {keys} in the environment"
            )
    if "@" in urlsplit(settings.endpoint_url or "").netloc:
        raise UserError(f"storage-s3-endpoint-url: credentials don't belong into a URL; set {keys} in the environment")
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        config=Config(
            signature_version=settings.signature_version,
            connect_timeout=SECONDS,
            read_timeout=SECONDS,
            retries={"total_max_attempts": 1},
        ),
    )
    where = f"s3://{bucket}/{prefix} at {client.meta.endpoint_url}"
    try:
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise UserError(f"{where}: no credentials; set {keys} in the environment, or run aws configure") from None
    except exceptions.ClientError as error:
        code, status = str(error.response["Error"]["Code"]), error.response["ResponseMetadata"].get("HTTPStatusCode")
        if code == "NoSuchBucket":
            message = "no such bucket; make it (aws s3 mb), or correct default-storage-prefix"
        elif code in REFUSED or status == 403:
            message = f"access is refused ({code}); correct {keys}, or let them list, read, write and delete there"
        elif code in ELSEWHERE:
            message = f"the bucket is in another region than {settings.region} ({code}); write storage-s3-region"
        else:
            message = f"the storage answers {code}; correct storage-s3-endpoint-url, or try again later"
        raise UserError(f"{where}: {message}") from None
    except (exceptions.BotoCoreError, ValueError) as error:  # no route, no such host, another protocol, a bad name
        raise UserError(
            f"{where}: no answer ({type(error).__name__}); correct storage-s3-endpoint-url and default-storage-prefix "
            "in the profile, or mend the network"
        ) from None
    return client
