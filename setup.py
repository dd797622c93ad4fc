"""What pyproject.toml cannot say: a build starts empty.

setuptools packs whatever an earlier build left in ``build/lib``, so a module that was moved or
removed since then would land in the wheel, under its old name.
"""

import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class FreshBuild(build_py):
    """Copies modules into an empty folder."""

    def run(self) -> None:
        """Empty the folder first."""
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": FreshBuild})
