"""Packs source archives again, so that their bytes depend on their files alone.

Run as `python tests/pack_sdist.py dist/*.tar.gz`. Setuptools honours SOURCE_DATE_EPOCH in wheels;
in a source archive it leaves the times and owners of the build, and the time of the compression.
"""

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path

# 1980-01-01, the first time that a wheel can hold.
EARLIEST = 315532800


def main() -> None:
    """Packs the named archives, each in its place."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", EARLIEST))
    for name in sys.argv[1:]:
        Path(name).write_bytes(packed(Path(name).read_bytes(), seconds))


def packed(archive: bytes, seconds: int) -> bytes:
    """The same files in the order of their names, with one time and no owner."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as source,
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=seconds) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source.getmembers(), key=lambda each: each.name):
            if not (member.isfile() or member.isdir()):
                sys.exit(f"{member.name} must be a file or a folder to be packed.")
            member.mtime, member.uid, member.gid, member.uname, member.gname = seconds, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return out.getvalue()


if __name__ == "__main__":
    main()
