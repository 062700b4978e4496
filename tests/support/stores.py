"""Stores with the habits of drivers that no test can reach: one that drops the account, one that keeps listings."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class AccountStore(MemoryFileSystem):
    """`accounts://container@account/x` is `/container/x` to it, as that of Azure has it."""

    protocol = "accounts"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        plain = path.removeprefix("accounts://")
        container, _, rest = plain.lstrip("/").partition("/")
        return f"/{container.partition('@')[0]}/{rest}".rstrip("/")


class KeptListings(MemoryFileSystem):
    """Lists a folder once and then from memory, as that of S3 does."""

    protocol = "kept"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("kept://").strip("/")

    _listed: dict[str, list[Any]] = {}  # noqa: RUF012  of the process, as the files are

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        plain = self._strip_protocol(path)
        if plain not in self._listed:
            self._listed[plain] = super().ls(plain, detail=True, **options)
        found = self._listed[plain]
        return found if detail else [each["name"] for each in found]

    def invalidate_cache(self, path: str | None = None) -> None:
        self._listed.clear() if path is None else self._listed.pop(self._strip_protocol(path), None)


for store in (AccountStore, KeptListings):
    fsspec.register_implementation(store.protocol, store, clobber=True)
