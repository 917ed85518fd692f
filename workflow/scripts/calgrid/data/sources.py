"""Reading data sets from the Hub or a folder, refusing what can't be used, and writing the canonical form.

What `prepare_sft.py` and `prepare_benchmark.py` share. Only data files are read: `datasets` runs no code of a
repository.
"""

import argparse
import glob
import heapq
import json
import logging
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from calgrid.errors import UserError
from calgrid.store import files
from calgrid.store.versions import PREPARE_VERSION
from calgrid.vocabulary import MAX_REJECTED_SHARE

if TYPE_CHECKING:  # both are slow to import, and `--help` needs neither
    import polars as pl
    from datasets import Dataset

log = logging.getLogger(__name__)


class Layout(Protocol):
    """A layout of benchmarks or of instruction data."""

    @property
    def columns(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Source:
    """A split of a data set, from exactly one of a Hub repository and a folder laid out as one."""

    hub: str | None
    path: str | None
    revision: str | None  # commit, tag or branch; Hub only
    config: str | None  # the data set's configuration, where it has several
    split: str

    def __str__(self) -> str:
        name = f"{self.hub}@{self.revision}" if self.revision else self.hub or self.path
        return f"{name} ({self.config})" if self.config else f"{name}"


@dataclass
class Rejects:
    """Rows that can't be used, counted by reason, with the first row of each reason as an example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, row_id: str) -> None:
        self.counts[reason] += 1
        self.examples.setdefault(reason, row_id)

    def report(self) -> list[str]:
        """A line for each reason, the most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [f"{reason}: {count}, such as row {self.examples[reason]!r}" for reason, count in ranked]

    def check(self, source: Source, rows: int, max_share: float) -> None:
        """Log what was rejected out of `rows`; raise UserError if it is more than `max_share` of them."""
        rejected = self.counts.total()
        for line in self.report():
            log.info("rejected: %s", line)
        if rejected > max_share * rows:
            reasons = "\n".join(f"  {line}" for line in self.report())
            raise UserError(
                f"{source}: {rejected} of {rows} rows ({rejected / rows:.1%}) can't be used, more than the "
                f"{max_share:.1%} that max_rejected_share allows:\n{reasons}\n"
                "Correct the data or take another set; or raise data.max_rejected_share (--max-rejected-share) "
                "to go on without these rows."
            )


def add_flags(parser: argparse.ArgumentParser, split: str, layouts: Iterable[str]) -> None:
    """Add the flags that both prepare programs have; `split` is the default split."""
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--hub", metavar="ID", help="data set on the Hugging Face Hub, such as tatsu-lab/alpaca")
    origin.add_argument("--path", metavar="FOLDER", help="local folder with the files of such a data set")
    parser.add_argument("--revision", help="commit, tag or branch of the Hub data set (default: the newest)")
    parser.add_argument("--config", metavar="NAME", help="configuration of the data set, where it has several")
    parser.add_argument("--split", default=split, help="split of the data set (default: %(default)s)")
    parser.add_argument("--layout", required=True, choices=list(layouts), help="which columns the rows have")
    parser.add_argument(
        "--max-rejected-share",
        type=share,
        default=MAX_REJECTED_SHARE,
        metavar="SHARE",
        help="refuse the data set if more of its rows can't be used (default: %(default)s)",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="X.parquet", help="the canonical rows")
    parser.add_argument("--manifest", required=True, type=Path, metavar="X.json", help="what is in them: counts, hash")


def share(text: str) -> float:
    """A flag's value in [0, 1)."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share in [0, 1)")
    return value


def positive(text: str) -> int:
    """A flag's value of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of rows; give at least 1")
    return value


def source_of(arguments: argparse.Namespace) -> Source:
    """The source that the flags name."""
    if arguments.revision and not arguments.hub:
        raise UserError(f"--revision {arguments.revision}: a local folder has no revisions; leave it out")
    return Source(arguments.hub, arguments.path, arguments.revision, arguments.config, arguments.split)


@contextmanager
def opened(source: Source) -> Iterator[tuple["Dataset", str | None]]:
    """The split as a `datasets.Dataset`, and the commit of the Hub repository that it is from.

    `datasets` keeps an Arrow copy of all that it reads. For the Hub it lies in the user's Hugging Face cache, keyed
    by commit. For a folder the key would be the files' modification times, so that a file replaced with its old time
    (rsync -t, cp -p) would be read from the copy; hence that copy is temporary here and the files are always read.
    It is written below TMPDIR.

    Raises UserError if the data set can't be reached or read, lacks the configuration or the split, or is empty.
    """
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    for name in ("httpx", "httpx2", "huggingface_hub.repocard"):  # a line a request; a line for a README without YAML
        logging.getLogger(name).setLevel(logging.ERROR)

    address = _address(source)
    # Errors in cleaning up are ignored since a network file system keeps files that are still mapped.
    with tempfile.TemporaryDirectory(prefix="calgrid-", ignore_cleanup_errors=True) as scratch:
        cache = None if source.hub else scratch
        try:
            builder = datasets.load_dataset_builder(address, source.config, cache_dir=cache, revision=source.revision)
            builder.download_and_prepare()
        except Exception as error:  # of any kind: the readers of a dozen formats have met a file that is not ours
            log.debug("datasets could not load %s", source, exc_info=True)
            cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else error
            reason = str(cause).partition("\nExample of usage")[0]  # which is not how to do it here
            if isinstance(error, StopIteration):
                reason = "a file is empty"
            raise UserError(f"{source}: can't be read: {reason}\n{_remedy(source)}") from error
        commit = builder.hash if source.hub else None
        if source.revision and type(builder).__name__ == "Cache" and not builder.hash.startswith(source.revision):
            # Without network `datasets` falls back on whatever commit it has seen last.
            raise UserError(
                f"{source}: the Hub can't be reached, and the local cache holds commit {commit}, which need not be "
                f"revision {source.revision!r}. {_remedy(source)}"
            )
        if source.split not in builder.info.splits:
            known = ", ".join(builder.info.splits)
            raise UserError(
                f"{source}: no split {source.split!r} (`split`, or `example_split` for few-shot examples); "
                f"there are: {known}"
            )
        if not builder.info.splits[source.split].num_examples:
            raise UserError(f"{source}: split {source.split!r} has no rows")
        dataset = builder.as_dataset(split=source.split)
        log.info(
            "%s: %d rows in split %s%s", source, len(dataset), source.split, f", commit {commit}" if commit else ""
        )
        yield dataset, commit


def _address(source: Source) -> str:
    """The source as `datasets` takes it, in a form that can't be mistaken for the other kind."""
    if source.hub:
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source.hub):
            raise UserError(f"hub: {source.hub!r} is not a Hub id; write owner/name, such as tatsu-lab/alpaca")
        return f"hf://datasets/{source.hub}"  # a bare id would be looked for in the working directory first
    folder = Path(source.path or "").resolve()
    if not folder.is_dir():
        raise UserError(f"path: no such folder {source.path!r}; correct it, or give a Hub id instead (`hub`, --hub)")
    if glob.escape(str(folder)) != str(folder):  # it would find nothing there, or the files of other folders
        raise UserError(f"path: {folder}: `datasets` takes *, ? and [ in a path for a pattern; move this folder")
    return str(folder)


def _remedy(source: Source) -> str:
    if source.path:
        return "Check `config` (--config), the files in the folder, and the `configs` that its README.md lists."
    return (
        "Check the id, the revision, `config` (--config) and the network; log in with `hf auth login` if the "
        "repository is private or gated; or fetch it on a machine with network "
        f"(`hf download {source.hub} --repo-type dataset --local-dir FOLDER`) and give that folder as `path` (--path)."
    )


def check_layout(source: Source, dataset: "Dataset", layout: str, layouts: Mapping[str, Layout]) -> None:
    """Raise UserError if `dataset` lacks columns that its layout needs, naming the layouts that would fit.

    A list of records counts as the columns `name[].field`, as seen in the first 100 rows.
    """
    found: list[str] = []
    for name, values in dataset[:100].items():
        records = [item for value in values if isinstance(value, list) for item in value if isinstance(item, dict)]
        fields = dict.fromkeys(key for record in records for key in record)
        found += [f"{name}[].{key}" for key in fields] or [name]
    missing = [column for column in layouts[layout].columns if column not in found]
    if missing:
        fitting = [name for name, other in layouts.items() if set(other.columns) <= set(found)]
        hint = f"set `layout` to {' or '.join(fitting)}" if fitting else f"none of {', '.join(layouts)} fits"
        raise UserError(
            f"{source}: not in the layout {layout!r}, which needs {', '.join(layouts[layout].columns)}: "
            f"{', '.join(missing)} missing; found {', '.join(found)}; {hint}"
        )


def lowest(keys: Sequence[str], n: int) -> list[int]:
    """Where the `n` distinct keys with the lowest hashes stand in `keys`, in order.

    A sample that depends on neither the order of `keys` nor, for the keys that stay, on which others there are:
    the same questions in each language, the same conversations when a source grows. Equal keys are chosen together.
    """
    hashes = [sha256(key.encode()).digest() for key in keys]
    chosen = set(heapq.nsmallest(n, set(hashes)))
    return [i for i, value in enumerate(hashes) if value in chosen]


def json_rows(frame: "pl.DataFrame") -> Iterator[bytes]:
    """Each row's values as a line of JSON: the form in which contents are hashed."""
    for row in frame.iter_rows():
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def values_hash(frame: "pl.DataFrame") -> str:
    """SHA-256 of the column names and values, whatever file they are in."""
    digest = sha256(json.dumps(frame.columns).encode())
    for row in json_rows(frame):
        digest.update(row)
    return digest.hexdigest()


def write(
    frame: "pl.DataFrame",
    rejects: Rejects,
    arguments: argparse.Namespace,
    source: Source,
    commit: str | None,
    made_with: Mapping[str, Any],
    **facts: Any,
) -> None:
    """Write the canonical rows and their manifest, which depends on the source's name and the content alone.

    Args:
        frame: the rows.
        rejects: what was left out.
        arguments: the program's.
        source: where the rows come from.
        commit: of a Hub repository, that was read.
        made_with: settings that chose the rows, for the provenance alone.
        **facts: for manifest and provenance.
    """
    manifest = {
        "source": source.hub or source.path,
        "revision": source.revision,
        "config": source.config,
        "split": source.split,
        "layout": arguments.layout,
        **facts,
        "rows": len(frame),
        "rejected": dict(sorted(rejects.counts.items())),
        "sha256": values_hash(frame),
    }
    files.write_parquet(
        frame,
        arguments.output,
        files.provenance(**manifest, **made_with, source_commit=commit, prepare_version=PREPARE_VERSION),
    )
    files.write_json(arguments.manifest, manifest)
    log.info("%s: %d rows, sha256 %s", arguments.output, len(frame), manifest["sha256"][:16])
