"""A file or folder on S3 as Snakemake and this workflow need it: the plugin's class, with four differences.

- The local copy of <prefix>/results/x is results/x.
- A dry run lists the prefix, 1,000 objects a request, where the plugin asks three times for each file of the grid.
- A folder, such as a model, is there when its last file is. The file that Snakemake puts into each folder to date it is
  written last and removed first, so that an interrupted upload or removal leaves no folder; a folder that is fetched
  appears whole.
- The bucket is neither made nor, where it is empty, removed.
"""

from collections.abc import Container
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from snakemake_interface_storage_plugins.io import Mtime
from snakemake_storage_plugin_s3 import StorageObject

from calgrid import files
from calgrid.errors import UserError

WHOLE = ".snakemake_timestamp"  # the file that dates a folder


class StoredResult(StorageObject):
    """`provider.prefix`, the beginning of all keys, and `provider.copies`, by key, are set by `s3.use`."""

    def _local_suffix_from_key(self, key: str) -> str:
        return key.removeprefix(self.provider.prefix)

    def get_inventory_parent(self) -> str:
        """One for all: the listing tells what there is, and so what there is not."""
        return f"s3://{self.bucket}/{self.provider.prefix}"

    async def inventory(self, cache: Any) -> None:
        known, storage = cache.exists_in_storage, self.get_inventory_parent()
        if storage in known.has_inventory or not cache.max_wait_time:  # a single job asks for its own files alone
            return
        known.has_inventory.add(storage)
        for item in self.s3bucket().objects.filter(Prefix=self.provider.prefix):
            path = self._local_suffix_from_key(item.key)
            known[path], cache.size[path] = True, item.size
            cache.mtime[path] = Mtime(storage=item.last_modified.timestamp())
            if path.endswith(f"/{WHOLE}"):
                folder = path.removesuffix(f"/{WHOLE}")
                known[folder], cache.mtime[folder] = True, Mtime(storage=item.last_modified.timestamp())

    def exists(self) -> bool:
        return self._last() is not None

    def mtime(self) -> float:
        last = self._last()
        if last is None:
            raise FileNotFoundError(self.query)
        return last.last_modified.timestamp()

    def is_dir(self) -> bool:
        if self._is_dir is None:
            self._last()
        return bool(self._is_dir)

    def _last(self) -> Any:
        """The object, or for a folder the one that was written last; None where there is neither."""
        for name in ("", WHOLE):
            found = self.s3obj(name)
            try:
                found.load()
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
            else:
                self._is_dir = name == WHOLE
                return found
        return None

    def store_object(self) -> None:
        self.provider.copies.pop(self.key, None)
        local = self.local_path()
        if not local.is_dir():
            self.s3obj().upload_file(local)
            return
        names = {str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()} - {WHOLE}
        self._remove_folder(keep=names)
        for name in sorted(names):
            self.s3obj(name).upload_file(local / name)
        (local / WHOLE).touch()
        self.s3obj(WHOLE).upload_file(local / WHOLE)
        self._is_dir = True

    def retrieve_object(self) -> None:
        if not self.is_dir():
            super().retrieve_object()
            return
        with files.atomic(self.local_path()) as folder:
            for item in self.get_subkeys():
                path = folder / item.key.removeprefix(f"{self.key}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                item.Object().download_file(path)

    def copy_aside(self, folder: Path) -> Path:
        """A copy of a file that jobs don't see, named by its content's tag; fetched once, unless it is stored anew.

        Raises UserError where there is no such file.
        """
        if self.key not in self.provider.copies:
            last = self._last()
            if last is None:
                raise UserError(f"{self.query}: no such object; it was removed while jobs were planned: run again")
            tag = last.e_tag.strip('"')
            copy = folder / f"{tag}{Path(self.key).suffix}"
            if not copy.exists():
                with files.atomic(copy) as temporary:
                    last.download_file(temporary)
            self.provider.copies[self.key] = copy
        return self.provider.copies[self.key]

    def remove(self) -> None:
        if self.is_dir():
            self._remove_folder()
        else:
            self.s3obj().delete()

    def _remove_folder(self, keep: Container[str] = ()) -> None:
        """Remove the objects of a folder, beginning with the one that makes it whole."""
        self.s3obj(WHOLE).delete()
        for item in self.get_subkeys():
            if item.key.removeprefix(f"{self.key}/") not in keep:
                item.delete()
