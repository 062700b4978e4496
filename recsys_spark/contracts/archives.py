"""Files of `torch.save` are zip archives, and are asked to be that before PyTorch reads them."""

from __future__ import annotations

import zipfile


def require_archive(path: str) -> str:
    """The path of a zip archive; raises ValueError for anything else.

    `torch.load(weights_only=True)` refuses pickles that run code, but its readers of older forms had a hole until
    PyTorch 2.6 (CVE-2025-32434), and 2.3 is supported. This product never wrote those forms.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no archive of torch.save")
    return path
