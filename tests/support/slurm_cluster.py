"""A real Slurm on this machine: its own daemons, nodes that only exist in the configuration, GPUs that are not there.

Started by `tests/slurm/run` as root, in namespaces of its own, where /etc/slurm is bound to a folder of the cluster's:
Snakemake's jobs read the configuration there.
"""

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NODES = ("n1", "n2", "n3")
CPUS, MEMORY, GPUS = 64, 512_000, 8  # of each node; memory in MiB

CONFIGURATION = """
ClusterName=calgrid
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool.%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/%n.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
# A job that takes more memory than it asked for is killed; looked at every second, since here is no cgroup to do it.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
ReturnToService=2
InactiveLimit=0
KillWait=2
OverTimeLimit=0
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=10
MessageTimeout=10
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database}
AccountingStoragePass={base}/munge/socket
AccountingStorageTRES=gres/gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=1-0 DefMemPerCPU=1000 PriorityTier=5 PreemptMode=OFF
PartitionName=requeues Nodes=ALL MaxTime=1-0 DefMemPerCPU=1000 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=cancels Nodes=ALL MaxTime=1-0 DefMemPerCPU=1000 PriorityTier=1 PreemptMode=CANCEL
"""

DATABASE = """
AuthType=auth/munge
AuthInfo=socket={base}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
PidFile={base}/slurmdbd.pid
LogFile={base}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={storage_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""


class Cluster:
    """One controller and a few nodes, with accounting: slurmdbd and a MariaDB, for sacct."""

    def __init__(self, base: Path) -> None:
        self.base, self.etc = base, Path("/etc/slurm")

    def start(self) -> None:
        for folder in ("munge", "state", "dev"):
            (self.base / folder).mkdir(parents=True)
        self.base.chmod(0o755)
        (self.base / "munge").chmod(0o755)
        (self.base / "munge/key").write_bytes(os.urandom(1024))
        (self.base / "munge/key").chmod(0o600)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        run("munged", *(f"--{flag}={self.base}/munge/{name}" for flag, name in files.items()))
        for number in range(GPUS):
            os.mknod(self.base / f"dev/gpu{number}", 0o20666, os.makedev(1, 3))  # any character device does
        host, ports = platform.node().split(".")[0], [free_port() for _ in (*NODES, *"cds")]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} CoresPerSocket={CPUS} "
            f"Boards=1 SocketsPerBoard=1 ThreadsPerCore=1 RealMemory={MEMORY} Gres=gpu:h200:{GPUS} State=UNKNOWN"
            for node, port in zip(NODES, ports, strict=False)
        )
        *_, controller, database, storage = ports
        (self.etc / "slurm.conf").write_text(
            CONFIGURATION.format(base=self.base, host=host, port=controller, nodes=nodes, database=database)
        )
        (self.etc / "gres.conf").write_text(f"Name=gpu Type=h200 File={self.base}/dev/gpu[0-{GPUS - 1}]\n")
        self.start_accounting(database, storage)
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        wait(lambda: self.idle() == set(NODES), "all nodes idle", 60)

    def start_accounting(self, port: int, storage_port: int) -> None:
        folder = self.base / "mysql"
        folder.mkdir()
        at = ["--no-defaults", f"--datadir={folder}/data"]
        run("mariadb-install-db", *at, "--user=root", "--auth-root-authentication-method=socket", "--skip-test-db")
        subprocess.Popen(
            [
                *("mariadbd", *at, "--user=root", f"--socket={folder}/socket", f"--pid-file={folder}/pid"),
                *("--bind-address=127.0.0.1", f"--port={storage_port}", "--skip-name-resolve"),
                *("--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900", f"--log-error={folder}/log"),
            ]
        )
        client = ["mariadb", "--no-defaults", f"--socket={folder}/socket", "--execute"]
        wait(lambda: quiet(*client, "select 1"), "MariaDB", 60)
        run(
            *client,
            "create database slurm_acct_db; create user slurm@'127.0.0.1' identified by 'slurm'; "
            "grant all on slurm_acct_db.* to slurm@'127.0.0.1';",
        )
        written = self.etc / "slurmdbd.conf"
        written.write_text(DATABASE.format(base=self.base, port=port, storage_port=storage_port))
        written.chmod(0o600)
        run("slurmdbd")
        wait(lambda: quiet("sacctmgr", "--noheader", "show", "cluster"), "slurmdbd", 60)
        for what in (
            ["cluster", "calgrid"],
            ["account", "tests", "Cluster=calgrid"],
            ["user", "root", "Account=tests", "DefaultAccount=tests"],
        ):
            run("sacctmgr", "--immediate", "add", *what)

    def start_controller(self) -> None:
        run("slurmctld")
        wait(lambda: quiet("squeue"), "the controller's answer", 60)

    def stop_controller(self) -> None:
        end(self.base / "slurmctld.pid")

    def start_node(self, node: str) -> None:
        run("slurmd", "-N", node)

    def cut_power(self, node: str) -> None:
        """Kill a node: its slurmd and, without a word to it, everything that its jobs have started."""
        jobs = self.jobs("--nodelist", node, "--states", "running,completing")
        daemon = int((self.base / f"{node}.pid").read_text())
        processes = list(all_processes())
        steps = [pid for pid, _, command in processes if any(f"slurmstepd: [{job}." in command for job in jobs)]
        os.kill(daemon, signal.SIGKILL)
        for pid in [child for step in steps for child in [*descendants(step, processes), step]]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        (self.base / f"{node}.pid").unlink(missing_ok=True)

    def jobs(self, *filters: str) -> list[str]:
        return run("squeue", "--noheader", "--format=%A", *filters).split()

    def idle(self) -> set[str]:
        return set(run("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N").split())

    def stop(self) -> None:
        quiet("scancel", "--user=root")
        daemons = [*(f"{node}.pid" for node in NODES), "slurmctld.pid", "slurmdbd.pid", "mysql/pid", "munge/pid"]
        for name in daemons:
            end(self.base / name)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def quiet(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def wait(met: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def end(pid_file: Path) -> None:
    """End a daemon and wait for it."""
    if not pid_file.exists() or not pid_file.read_text().strip():
        return
    pid = int(pid_file.read_text())
    for blow in (signal.SIGTERM, signal.SIGKILL):
        with lost():
            os.kill(pid, blow)
        deadline = time.monotonic() + 10
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
    pid_file.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only its entry, for a parent that never asks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def lost() -> Iterator[None]:
    """A process that is gone already."""
    try:
        yield
    except ProcessLookupError:
        return


def all_processes() -> Iterator[tuple[int, int, str]]:
    """Process, parent and command line of each."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(path.name), parent, command


def descendants(pid: int, processes: list[tuple[int, int, str]]) -> Iterator[int]:
    for child, parent, _ in processes:
        if parent == pid:
            yield from descendants(child, processes)
            yield child


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def main() -> int:
    """Run a command beside a cluster:  slurm_cluster.py FOLDER COMMAND..."""
    cluster = Cluster(Path(sys.argv[1]))
    try:
        cluster.start()
        return subprocess.run(sys.argv[2:], check=False).returncode
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
