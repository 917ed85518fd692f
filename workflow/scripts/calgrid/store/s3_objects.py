"""A file or folder on S3 as Snakemake and this workflow need it: the plugin's class, with these differences.

- The local copy of <prefix>/results/x is results/x.
- A run begins with a listing of the prefix, 1,000 objects a request, where the plugin asks three times for each file.
- What was found is remembered until this run changes it. Snakemake asks for the size of each input of each job that is
  ready, whenever it looks for the next one to start.
- A folder, such as a model, is there when its last file is. The file that Snakemake puts into each folder to date it is
  written last and removed first, so that an interrupted upload or removal leaves no folder; a folder that is fetched
  appears whole.
- The bucket is neither made nor, where it is empty, removed.
"""

from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from snakemake_interface_storage_plugins.io import Mtime
from snakemake_storage_plugin_s3 import StorageObject

from calgrid.errors import UserError
from calgrid.store import files

WHOLE = ".snakemake_timestamp"  # the file that dates a folder


class Found(NamedTuple):
    """What is known of a file or folder."""

    mtime: float  # of a folder: of the file that was written last
    size: int  # bytes
    is_folder: bool


class StoredResult(StorageObject):
    """`s3.use` gives the provider `prefix`, the beginning of all keys, and by key `found` and `copies`."""

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
        listed = self.s3bucket().objects.filter(Prefix=self.provider.prefix)
        found = {item.key: Found(_seconds(item), item.size, False) for item in listed}
        whole = {key.removesuffix(f"/{WHOLE}"): file.mtime for key, file in found.items() if key.endswith(f"/{WHOLE}")}
        sizes: Counter[str] = Counter()
        for key, file in found.items():
            folder = key
            while folder := folder.rpartition("/")[0]:
                sizes[folder] += file.size
        found |= {folder: Found(mtime, sizes[folder], True) for folder, mtime in whole.items()}
        self.provider.found.update(found)
        for key, file in found.items():
            path = self._local_suffix_from_key(key)
            known[path], cache.size[path], cache.mtime[path] = True, file.size, Mtime(storage=file.mtime)

    def exists(self) -> bool:
        return self._find() is not None

    def mtime(self) -> float:
        return self._there().mtime

    def size(self) -> int:
        return self._there().size

    def is_dir(self) -> bool:
        found = self._find()
        return found is not None and found.is_folder

    def _there(self) -> Found:
        found = self._find()
        if found is None:
            raise FileNotFoundError(self.query)
        return found

    def _find(self) -> Found | None:
        if self.key not in self.provider.found:
            for name in ("", WHOLE):
                if last := self._head(name):
                    size = sum(item.size for item in self.get_subkeys()) if name else last.content_length
                    self.provider.found[self.key] = Found(_seconds(last), size, bool(name))
                    break
        return self.provider.found.get(self.key)

    def _head(self, name: str = "") -> Any:
        """The object, or the one of this name in the folder; None where there is none."""
        found = self.s3obj(name)
        try:
            found.load()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None
        return found

    def _forget(self) -> None:
        self.provider.found.pop(self.key, None)
        self.provider.copies.pop(self.key, None)

    def store_object(self) -> None:
        self._forget()
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
            last = self._head()
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
        self._forget()

    def _remove_folder(self, keep: Container[str] = ()) -> None:
        """Remove the objects of a folder, beginning with the one that makes it whole."""
        self.s3obj(WHOLE).delete()
        for item in self.get_subkeys():
            if item.key.removeprefix(f"{self.key}/") not in keep:
                item.delete()


def _seconds(item: Any) -> float:
    """When an object was written; some storage tells fractions of a second in a listing alone."""
    return float(int(item.last_modified.timestamp()))
