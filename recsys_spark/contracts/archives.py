"""Files of `torch.save` are zip archives, and are asked to be that before PyTorch reads them."""

from __future__ import annotations

import zipfile
from typing import IO, TypeVar

_Source = TypeVar("_Source", str, IO[bytes])


def require_archive(source: _Source) -> _Source:
    """The path of a zip archive, or such a file that is open; raises ValueError for anything else.

    `torch.load(weights_only=True)` refuses pickles that run code, but its readers of older forms had a hole until
    PyTorch 2.6 (CVE-2025-32434), and 2.3 is supported. This product never wrote those forms.
    """
    if not zipfile.is_zipfile(source):
        raise ValueError("it is no archive of torch.save")
    if not isinstance(source, str):
        source.seek(0)
    return source
