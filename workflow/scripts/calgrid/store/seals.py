"""Seals: a hash of what was written, inside the artifact itself, so that a damaged one is never read as if whole.

A Parquet file holds 40 bytes more than a plain one, between its data and its footer, where no reader looks:

    data | b"calgrid\\1" | SHA-256 of all other bytes | footer | length of the footer | PAR1

and says so in its metadata. A JSON record ends with a key `seal`, a hash of the values before it. What carries no
seal is of another origin, and is read as it is.

Imported whenever the Snakefile is parsed: nothing heavy here.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Any

from calgrid.errors import Absent, UserError

MAGIC = b"calgrid\1"
SIZE = len(MAGIC) + sha256().digest_size
END = b"PAR1"
METADATA = {"calgrid_seal": "sha256"}  # of a sealed Parquet file
KEY = "seal"  # of a sealed JSON record: {"sha256": ...}
AT_ONCE = 2**20  # bytes


def damaged(path: str | Path, reason: str, what: str = "damaged") -> UserError:
    return UserError(f"{path}: {what} ({reason}); delete it and run again")


def seal_parquet(path: Path) -> None:
    """Put a seal into a Parquet file that was just written with `METADATA`."""
    with path.open("r+b") as file:
        digest = file_digest(file, "sha256").digest()
        place = _footer(file, path)
        file.seek(place)
        footer = file.read()
        file.seek(place)
        file.write(MAGIC + digest + footer)


def check_parquet(path: str | Path) -> str | None:
    """The seal of a Parquet file, as a hexadecimal number; None if it has none.

    Reads the whole file, once for each state of it in a process. Raises UserError if it is missing or damaged.
    """
    path = Path(path)
    try:
        state = path.stat()
        return _check_parquet(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the stage that writes it has not run") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error})") from None


@lru_cache(maxsize=4096)
def _check_parquet(path: Path, inode: int, size: int, changed: int) -> str | None:
    with path.open("rb") as file:
        place = _footer(file, path)
        found = sha256()
        seal = b""
        if place >= SIZE:
            file.seek(place - SIZE)
            seal = file.read(SIZE)
        file.seek(place)
        footer = file.read()
        file.seek(0)
        if not seal.startswith(MAGIC):
            whole = file.read()
            if MAGIC in whole or next(iter(METADATA)).encode() in whole:
                raise damaged(path, "its seal is gone")
            return None
        left = place - SIZE
        while left and (part := file.read(min(left, AT_ONCE))):
            found.update(part)
            left -= len(part)
        found.update(footer)
    if found.digest() != seal.removeprefix(MAGIC):
        raise damaged(path, "its bytes are not those that were written")
    return found.hexdigest()


def _footer(file: IO[bytes], path: Path) -> int:
    """Where the footer of a Parquet file begins."""
    size = file.seek(0, 2)
    if size < 12:
        raise damaged(path, f"it has {size} bytes", "not readable as Parquet")
    file.seek(-8, 2)
    tail = file.read()
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != END or length > size - 12:
        raise damaged(path, "its end is missing", "not readable as Parquet")
    return size - 8 - length


def sums_of(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files, by name: for the record beside those that have no seal."""
    paths = list(paths)
    with ThreadPoolExecutor() as pool:  # hashing does not hold the interpreter
        digests = list(pool.map(_digest, paths))
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": digest} for path, digest in zip(paths, digests, strict=True)
    }


def check_sums(folder: str | Path, sums: Mapping[str, Mapping[str, Any]], *, bytes_too: bool = True) -> None:
    """Raise UserError, without a remedy, about a file of `folder` that is not the one of which `sums_of` was taken."""
    for name, expected in sums.items():
        path = Path(folder, name)
        if not path.is_file():
            raise Absent(f"{path}: no such file")
        if (found := path.stat().st_size) != expected["bytes"]:
            raise UserError(f"{path}: damaged: it has {found} bytes instead of {expected['bytes']}")
        if bytes_too and _digest(path) != expected["sha256"]:
            raise UserError(f"{path}: damaged: its bytes are not those that were written")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def sealed_json(record: Any) -> Any:
    """A record with its seal as the last key; what is no record is returned as it is."""
    return {**record, KEY: {"sha256": json_seal(record)}} if isinstance(record, Mapping) else record


def open_json(record: Any, path: str | Path) -> Any:
    """A record without its seal. Raises UserError if the seal does not fit."""
    if not isinstance(record, dict) or not record:
        return record
    last = next(reversed(record))
    seal = record[last]
    if last != KEY and not (isinstance(seal, dict) and list(seal) == ["sha256"]):  # a damaged key looks like this
        if KEY in record:
            raise damaged(path, "its seal is not at its end")
        return record
    values = {name: value for name, value in record.items() if name != last}
    if last != KEY or seal != {"sha256": json_seal(values)}:
        raise damaged(path, "its values are not those that were written")
    return values


def json_seal(record: Mapping[str, Any]) -> str:
    """The seal of a record, which is not among its values."""
    return sha256(json.dumps(record, ensure_ascii=False).encode()).hexdigest()
