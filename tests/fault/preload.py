"""Libraries for LD_PRELOAD, built from the C files here, and the file they are told by."""

import mmap
import os
import pathlib
import struct
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def build(name, directory):
    """The library of tests/fault/NAME.c, made in a directory."""
    library = directory / f"{name}.so"
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2",
                    "-shared", "-fPIC", "-o", str(library), str(HERE / f"{name}.c")],
                   check=True, timeout=60)
    return library


def environment(daemon, library):
    """What has the daemon load the library; a sanitizer would insist on being the first."""
    sanitizer = b"__asan_init" in pathlib.Path(os.environ["BAEDALD"]).read_bytes()
    own = {"LD_PRELOAD": str(library)}
    if sanitizer:
        given = os.environ.get("ASAN_OPTIONS", "detect_leaks=1")
        own["ASAN_OPTIONS"] = f"{given}:verify_asan_link_order=0:allocator_may_return_null=1"
    daemon.environment.update(own)


class Words:
    """Numbers of 64 bits that this process and the preloaded library share."""

    def __init__(self, path, count):
        path.write_bytes(bytes(8 * count))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 8 * count)

    def __getitem__(self, place):
        return struct.unpack_from("q", self.map, 8 * place)[0]

    def __setitem__(self, place, value):
        struct.pack_into("q", self.map, 8 * place, value)
