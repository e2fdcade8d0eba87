"""Tars are read as the standard library writes them, and hostile ones cost neither memory nor time."""

import gzip
import io
import random
import tarfile
import tracemalloc

import pytest

from serving.bulk.tar import BrokenTar, Tar

LONG = "folder/" * 30 + "a picture with a long name.jpg"
FILES = {"a.jpg": b"first", LONG: b"x" * 1000, "empty.jpg": b"", "b/ü.jpg": bytes(513)}


def tar_of(files: dict[str, bytes], format: int = tarfile.PAX_FORMAT, extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for member in extra:
            tar.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    return {member.name: member.read(member.size) for member in Tar(io.BytesIO(data)).members()}


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_every_file_is_read_with_its_name(format: int, compress: type[bytes]) -> None:
    assert read(compress(tar_of(FILES, format))) == FILES


def test_ustar_has_the_folders_of_a_long_name_apart() -> None:
    files = {"folder/" * 20 + "a.jpg": b"a"}
    assert read(tar_of(files, tarfile.USTAR_FORMAT)) == files


def test_a_content_that_is_not_read_is_passed_over() -> None:
    members = Tar(io.BytesIO(tar_of(FILES))).members()
    assert [member.name for member in members] == list(FILES)


def test_links_folders_and_devices_are_no_files() -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    extra = []
    for kind in kinds:
        member = tarfile.TarInfo(f"special-{kind.decode()}.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        extra.append(member)
    assert read(tar_of({"a.jpg": b"a"}, extra=tuple(extra))) == {"a.jpg": b"a"}


def test_a_name_is_text_and_no_path() -> None:
    assert read(tar_of({"../../etc/passwd": b"a"})) == {"../../etc/passwd": b"a"}


def test_a_tar_without_an_end_mark_is_whole() -> None:
    assert read(tar_of({"a.jpg": b"a"})[:1024]) == {"a.jpg": b"a"}


def test_a_tar_that_is_cut_off_gives_what_it_has_first() -> None:
    data = tar_of({"a.jpg": b"a" * 512, "b.jpg": b"b" * 512})
    names = []
    with pytest.raises(BrokenTar, match="cut off"):  # noqa: PT012
        for member in Tar(io.BytesIO(data[: 512 * 3 + 600])).members():
            names.append(member.name)
            member.read(member.size)
    assert names == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff" * 1000, b"hello", gzip.compress(b"x" * 600)[:-9], b"\x1f\x8bx"])
def test_what_is_no_tar_is_one_sentence(data: bytes) -> None:
    with pytest.raises(BrokenTar, match=r"^Th[^\n]*\.$"):
        read(data)


def header(name: bytes, size: int, kind: bytes) -> bytes:
    made = bytearray(512)
    made[: len(name)] = name
    made[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    made[148:156], made[156:157], made[257:265] = b" " * 8, kind, b"ustar\x0000"
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


class Zeros(io.RawIOBase):
    """A beginning, and zeros without end."""

    def __init__(self, start: bytes) -> None:
        self.start = start

    def read(self, size: int = -1) -> bytes:
        taken, self.start = self.start[:size], self.start[size:]
        return taken or bytes(size)


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_a_header_of_gigabytes_is_refused_before_it_is_read(kind: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BrokenTar, match="the limit is"):
            list(Tar(Zeros(header(b"x", 1 << 33, kind))).members())
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_headers_without_a_file_come_to_an_end() -> None:
    data = (header(b"x", 2, b"L") + b"a".ljust(512, b"\0")) * 100
    with pytest.raises(BrokenTar, match="too many headers"):
        read(data)


def test_a_size_that_is_no_number_is_refused() -> None:
    for record in (b"14 size=-12345\n"[:15], b"12 size=abc\n", b"99 path=a\n", b"1 path=a\n"):
        data = header(b"x", len(record), b"x") + record.ljust(512, b"\0") + header(b"a.jpg", 0, b"0") + bytes(1024)
        with pytest.raises(BrokenTar, match="pax header"):
            read(data)


def test_damage_anywhere_is_a_broken_tar_and_nothing_else() -> None:
    chosen = random.Random(3)
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        whole = tar_of(FILES, format)
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(chosen.choice([1, 5, 50])):
                data[chosen.randrange(len(data))] = chosen.randrange(256)
            try:
                names = read(bytes(data[: chosen.choice([len(data), chosen.randrange(len(data))])]))
            except BrokenTar:
                continue
            assert len(names) <= len(FILES)
