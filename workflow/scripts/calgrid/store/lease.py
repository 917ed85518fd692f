"""One process at a time computes a result; a second copy of a running job waits for the first.

Snakemake knows nothing of the jobs that a killed start of it left running, and `--nolock` lets two starts run side by
side. So an expensive job holds a lease while it computes: a small file beside its result, whose modification time its
holder sets anew every few seconds. Not a lock of the file system: between nodes, those of network file systems hold on
some clusters and not on others. A holder whose beat stops is dead, and its lease is taken over.

A lease's name begins with a dot and ends in `.lease`, so that who reads results meets none.
"""

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calgrid.errors import Interrupted
from calgrid.store import files

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0  # without a beat; far above what network file systems keep in their caches
SECONDS_VARIABLE = "CALGRID_LEASE_SECONDS"  # another value for STALE_SECONDS, with as many beats in it; for tests


def path_of(result: str | Path) -> Path:
    """Where the lease of a result lies."""
    result = Path(result)
    return result.with_name(f".running-{result.name}.lease")


def abandoned(lease: Path) -> bool:
    """Whether a lease was left behind by a process of this machine that is no more."""
    found = _read(lease)
    return found is not None and _dead(found[0])


@contextmanager
def held(result: str | Path, work: Any) -> Iterator[bool]:
    """Hold the lease of `result`; yields whether another process has computed it meanwhile.

    That is so where its holder had the same `work`, and the result was there once it had ended.

    Args:
        result: the file that is computed.
        work: what shapes the result; plain JSON.
    """
    stale = float(os.environ.get(SECONDS_VARIABLE, STALE_SECONDS))
    lease = _Lease(Path(result), work, stale, beat=BEAT_SECONDS * stale / STALE_SECONDS)
    before = lease.take()
    try:
        yield before is not None and before.get("work") == lease.me["work"] and Path(result).exists()
    finally:
        lease.give_back()


class _Lease:
    def __init__(self, result: Path, work: Any, stale: float, beat: float) -> None:
        self.result, self.path, self.stale, self.beat = result, path_of(result), stale, beat
        self.me: dict[str, Any] = {
            "host": platform.node(),
            "pid": os.getpid(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "token": uuid.uuid4().hex,
            "work": files.content_hash(json.dumps(work, sort_keys=True)),
        }
        self.over = threading.Event()

    def take(self) -> Mapping[str, Any] | None:
        """Wait until nobody else has it; returns who had it last, if this process waited."""
        waited_for: Mapping[str, Any] | None = None
        seen, seen_at = None, 0.0
        while not self._create():
            found = _read(self.path)
            if found is None:  # given back just now
                continue
            holder, beat = found
            if (holder.get("token"), beat) != seen:
                seen, seen_at = (holder.get("token"), beat), time.monotonic()
            if _dead(holder) or time.monotonic() - seen_at > self.stale:
                log.warning("%s does not beat any more; taking over from it", _who(holder))
                self._remove(holder)
                continue
            if waited_for is None or waited_for.get("token") != holder.get("token"):
                log.info("%s is computing %s already; waiting for it", _who(holder), self.result.name)
            waited_for = holder
            time.sleep(min(self.beat, 1.0))
        threading.Thread(target=self._beats, daemon=True).start()
        return waited_for

    def give_back(self) -> None:
        self.over.set()
        self._remove(self.me)

    def _create(self) -> bool:
        """Make the file with its content in one step, unless there is one."""
        temporary = files.temporary_for(self.path)
        temporary.write_text(json.dumps(self.me), encoding="utf-8")
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _remove(self, holder: Mapping[str, Any]) -> None:
        """Remove the lease, if it is still this holder's."""
        found = _read(self.path)
        if found is not None and found[0].get("token") == holder.get("token"):
            self.path.unlink(missing_ok=True)

    def _beats(self) -> None:
        while not self.over.wait(self.beat):
            found = _read(self.path)
            if self.over.is_set():
                return
            if found is None or found[0].get("token") != self.me["token"]:
                log.error("%s: another process took this result over while this one stood still; it stops", self.path)
                os._exit(Interrupted.exit_code)
            try:
                os.utime(self.path)  # which a full disk allows
            except OSError as error:  # the file system may be back at the next beat
                log.warning("%s: %s", self.path, error)


def _read(path: Path) -> tuple[Mapping[str, Any], int] | None:
    """A lease's content and the time of its last beat; None where there is none."""
    try:
        with path.open(encoding="utf-8") as file:  # opening asks a network file system for the time as it is now
            content = file.read()
            beat = os.fstat(file.fileno()).st_mtime_ns
        return json.loads(content), beat
    except FileNotFoundError:
        return None
    except ValueError:
        return {}, beat


def _dead(holder: Mapping[str, Any]) -> bool:
    return holder.get("host") == platform.node() and "pid" in holder and not files.alive(holder["pid"])


def _who(holder: Mapping[str, Any]) -> str:
    job = f", Slurm job {holder['slurm_job']}" if holder.get("slurm_job") else ""
    return f"process {holder.get('pid')} on {holder.get('host')}{job} (since {holder.get('since')})"
