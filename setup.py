"""What pyproject.toml cannot say: a build leaves nothing in the source, and finds nothing.

setuptools builds in ``build/`` and packs what an earlier build left there: a module that was
moved or removed since would land in the wheel under its old name, and what another user left
could not be replaced.  So every build has a folder of its own.
"""

import tempfile

from setuptools import setup

with tempfile.TemporaryDirectory(prefix="vampnet-onnx-build-") as folder:
    setup(options={"build": {"build_base": folder}})
