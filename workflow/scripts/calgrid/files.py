"""Writing and reading artifacts: whole or not at all, and with their provenance.

Every output is written under a temporary name in its own folder and then renamed, so that no reader
ever meets half a file. Parquet files carry a JSON record of how they were made in their metadata.
"""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape as glob_escape
from hashlib import file_digest, sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calgrid.errors import UserError

if TYPE_CHECKING:  # polars is heavy, and the Snakefile imports this module
    import polars as pl

PROVENANCE_KEY = "calgrid"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place if the block succeeds.

    The block may create a file or a folder at the yielded path. A folder that stood at `path` is replaced.
    The suffix is kept, since libraries choose the format by it. What a killed process left behind is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    host = platform.node()
    for stale in path.parent.glob(f".tmp-{host}-*-{glob_escape(path.name)}"):
        if not alive(int(stale.name.removeprefix(f".tmp-{host}-").split("-")[0])):
            _remove(stale)
    temporary = path.with_name(f".tmp-{host}-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if temporary.is_dir():
            _let_others_read(temporary)
            _remove(path)
        temporary.replace(path)
    finally:
        _remove(temporary)


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
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the stage that writes it has not run") from None
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); delete it and run again") from None


def write_parquet(frame: "pl.DataFrame", path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write `frame` with zstd and `provenance` (see `provenance`) in the file's metadata."""
    with atomic(path) as temporary:
        frame.write_parquet(
            temporary, compression="zstd", metadata={PROVENANCE_KEY: json.dumps(provenance, ensure_ascii=False)}
        )


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The provenance record of a Parquet file written by `write_parquet`. Raises UserError for another file."""
    import polars as pl

    try:
        return json.loads(pl.read_parquet_metadata(path)[PROVENANCE_KEY])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the stage that writes it has not run") from None
    except KeyError:
        raise UserError(
            f"{path}: no provenance in its metadata; only files of this workflow can be used here"
        ) from None
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: not readable as Parquet ({error}); delete it and run again") from None


def data_origin(path: str | Path) -> dict[str, Any]:
    """What a prepared data file was made of: source, revision, commit and a hash of its values."""
    record = read_provenance(path)
    return {name: record[name] for name in ("source", "revision", "source_commit", "rows", "sha256")}


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
