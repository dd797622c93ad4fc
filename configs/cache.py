"""Where the system keeps what can be made, or fetched, again."""

import os
from pathlib import Path

import platformdirs

FOLDER_VARIABLE = "VAMPNET_ONNX_CACHE"


def cache_folder() -> Path:
    """Return the user's cache: ``VAMPNET_ONNX_CACHE``, or the system's place for such."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else platformdirs.user_cache_path("vampnet-onnx", False)
