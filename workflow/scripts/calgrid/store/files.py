"""Writing and reading artifacts: whole or not at all, and with their provenance.

Every output is written under a temporary name in its own folder and then renamed, so that no reader
ever meets half a file. Temporary names begin with a dot and have an ending of their own: `scores/**/*.parquet`
matches none. Parquet files carry a JSON record of how they were made in their metadata. What is read is checked
against its seal (`store.seals`).
"""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from glob import escape as glob_escape
from hashlib import file_digest, sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calgrid.errors import UserError
from calgrid.store import seals

if TYPE_CHECKING:  # polars is heavy, and the Snakefile imports this module
    import polars as pl

PROVENANCE_KEY = "calgrid"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place if the block succeeds.

    The block may create a file or a folder at the yielded path. A folder that stood at `path` is replaced.
    What a killed process left behind is removed.
    """
    path = Path(path)
    temporary = temporary_for(path)
    try:
        yield temporary
        if temporary.is_dir():
            _let_others_read(temporary)
            _remove(path)
        temporary.replace(path)
    finally:
        _remove(temporary)


def temporary_for(path: Path) -> Path:
    """Where this process writes what is to be renamed to `path`; what killed ones left there is removed.

    It ends in `.part`, whatever `path` ends in: who writes to it says the format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".tmp-{glob_escape(platform.node())}-*-{glob_escape(path.name)}.part"):
        if abandoned(stale):
            _remove(stale)
    return path.with_name(f".tmp-{platform.node()}-{os.getpid()}-{path.name}.part")


def abandoned(temporary: Path) -> bool:
    """Whether a temporary path was left behind by a process of this machine that is no more."""
    writer = re.match(rf"\.tmp-{re.escape(platform.node())}-(\d+)-", temporary.name)
    return writer is not None and not alive(int(writer[1]))


def _let_others_read(folder: Path) -> None:
    """Give the files of a folder the permissions that the user's umask says; safetensors gives its own 0600."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value`; a record gets a seal."""
    write_text(path, json.dumps(seals.sealed_json(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """What `write_json` wrote. Raises UserError where it is missing or damaged."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the stage that writes it has not run") from None
    except (ValueError, RecursionError) as error:
        raise seals.damaged(path, str(error), "not readable as JSON") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error})") from None
    return seals.open_json(value, path)


def read_record(path: str | Path, *needed: str) -> dict[str, Any]:
    """The same of a JSON record. Raises UserError for anything else, and where one of the `needed` keys is missing."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path}: holds no record; it was not written by this workflow: delete it and run again")
    if missing := [name for name in needed if name not in record]:
        raise UserError(f"{path}: has no {missing[0]!r}; it was written by another stage or version: make it again")
    return record


def write_parquet(frame: "pl.DataFrame", path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write `frame` with zstd and `provenance` (see `provenance`) in the file's metadata, sealed."""
    metadata = {PROVENANCE_KEY: json.dumps(provenance, ensure_ascii=False), **seals.METADATA}
    with atomic(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", metadata=metadata)
        seals.seal_parquet(temporary)


@contextmanager
def reading_parquet(path: str | Path) -> Iterator[bool]:
    """Check the seal of a Parquet file that the block reads; what goes wrong there becomes a UserError.

    Yields whether it has one.
    """
    import polars as pl

    sealed = seals.check_parquet(path) is not None
    try:
        yield sealed
    except pl.exceptions.ColumnNotFoundError as error:
        raise UserError(f"{path}: no column {error}; it was written by another version, make it again") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, NotImplementedError) as error:
        raise seals.damaged(path, str(error), "not readable as Parquet") from None


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The provenance record of a Parquet file, empty where it has none. Raises UserError where it can't be read."""
    import polars as pl

    with reading_parquet(path):
        text = pl.read_parquet_metadata(path).get(PROVENANCE_KEY, "{}")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise seals.damaged(path, f"its provenance: {error}") from None
    if not isinstance(record, dict):
        raise seals.damaged(path, "its provenance is no record")
    return record


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The provenance record of a Parquet file written by `write_parquet`. Raises UserError for another file."""
    record = read_metadata(path)
    if not record:
        raise UserError(f"{path}: no provenance in its metadata; only files of this workflow can be used here")
    return record


def seals_of(paths: Iterable[str | Path]) -> dict[str, str | None]:
    """The seals of artifacts, Parquet or JSON, by path: what another one was made of. None where one has no seal."""
    return {
        str(path): seals.check_parquet(path) if Path(path).suffix == ".parquet" else seals.json_seal(read_json(path))
        for path in paths
    }


def data_origin(path: str | Path) -> dict[str, Any]:
    """What a prepared data file was made of: source, revision, commit and a hash of its values."""
    record = read_provenance(path)
    names = ("source", "revision", "source_commit", "rows", "sha256")
    if missing := [name for name in names if name not in record]:
        raise UserError(f"{path}: its provenance has no {missing[0]!r}; give data that this workflow prepared")
    return {name: record[name] for name in names}


def provenance(**facts: Any) -> dict[str, Any]:
    """What made an artifact: `facts` of the caller, the command, the code's commit, library versions."""
    return {
        **facts,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": code_commit(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape results."""
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "tokenizers", "datasets", "polars"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_commit() -> str:
    """The git commit of this code, with `+changes` when the code differs from it, or `unknown`."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", "..") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def sampled_hash(path: Path, blocks: int = 64, block: int = 2**14) -> str:
    """A hash of a file's size and of evenly spaced blocks of it, the first and the last among them.

    Up to 1 MiB that is the whole file. Another checkpoint of a model differs in nearly every block, so that a
    folder of 16 GB is told from another one in milliseconds.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= blocks * block:
            return content_hash(file.read())
        parts = []
        for number in range(blocks):
            file.seek(number * (size - block) // (blocks - 1))
            parts.append(file.read(block))
    return content_hash(str(size), *parts)


def content_hash(*parts: bytes | str | Path) -> str:
    """A short hash of bytes, strings and the contents of files, in order."""
    digest = sha256()
    for part in parts:
        if isinstance(part, Path):  # weights are larger than memory
            with part.open("rb") as file:
                data = file_digest(file, "sha256").digest()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]
