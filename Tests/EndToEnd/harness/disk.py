"""A disk that is small and can be full: a tmpfs in the place of a folder of the stack. Needs root and mount(8)."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

MIB = 1 << 20


class SmallDisk:
    """The folder's own content is behind the mount, and there again after it."""

    def __init__(self, folder: pathlib.Path, megabytes: int, keep: list):
        """- keep: names in the folder that the small disk begins with."""
        self.folder = folder
        self.ballast = folder / "ballast"
        owner = folder.stat()
        with tempfile.TemporaryDirectory() as aside:
            for name in keep:
                subprocess.run(["cp", "-a", folder / name, aside], check=True)
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", folder], capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"NOT TESTED: a full disk. It needs mount(8): {done.stderr.strip()}")
            os.chown(folder, owner.st_uid, owner.st_gid)
            for name in keep:
                subprocess.run(["cp", "-a", pathlib.Path(aside) / name, folder], check=True)

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.folder).free

    def fill(self):
        """Until not a page is free."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (MIB, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def make_room(self):
        self.ballast.unlink(missing_ok=True)

    def close(self):
        # Who still holds a file of it keeps it; nobody finds it there any more.
        subprocess.run(["umount", "--lazy", self.folder], check=True)


def needs_root():
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a full disk. Only root can mount a small one.")
