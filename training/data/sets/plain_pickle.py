"""A reader of pickles that runs no code: dicts, lists, numbers, text, and numpy's arrays of bytes.

A pickle may name any function of any module to be called. Here only the few names that numpy writes are known, and
each stands for an object of ours that keeps what it is given: no function of numpy's or of another module is called.
"""

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class PlainPickleError(ValueError):
    """The data is no pickle, or needs more than is read here."""


class _Fixed(type):
    """A class that a pickle cannot change: BUILD may set attributes of whatever it was given."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise PlainPickleError(f"it wants to change {name}, which is not allowed")


class _Dtype(metaclass=_Fixed):
    def __init__(self, *arguments: object) -> None:
        self.name = arguments[0] if arguments else None

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which a byte does not have."""


class _Array(metaclass=_Fixed):
    """An array as a pickle describes it: its shape, dtype and bytes."""

    def __init__(
        self, shape: object = None, dtype: object = None, fortran: object = False, data: object = None
    ) -> None:
        self.shape, self.dtype, self.fortran, self.data = shape, dtype, fortran, data

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state


class _Reconstruct(metaclass=_Fixed):
    def __new__(cls, *arguments: object) -> _Array:  # type: ignore[misc]
        return _Array()


class _FromBuffer(metaclass=_Fixed):
    def __new__(cls, data: object, dtype: object, shape: object, order: object = "C") -> _Array:  # type: ignore[misc]
        return _Array(shape, dtype, order != "C", data)


class _Encode(metaclass=_Fixed):
    def __new__(cls, text: object, encoding: object) -> bytes:  # type: ignore[misc]
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise PlainPickleError("it holds bytes in an encoding that is not read")
        return text.encode("latin-1")


# numpy 2 moved numpy.core; Python 2 and 3 spell bytes differently.
KNOWN = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise PlainPickleError(f"it wants to call {module}.{name}, which is not allowed")
        return KNOWN[module, name]


def load(data: bytes) -> Any:
    """Return what a pickle holds; an array of bytes is read by `as_bytes`.

    Raises:
        PlainPickleError: it is no pickle, or names anything else than an array of numpy.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin-1").load()
    except PlainPickleError:
        raise
    except Exception as error:  # a pickle can go wrong in any way
        raise PlainPickleError(f"it is no pickle that can be read: {error}") from error


def as_bytes(value: object) -> Bytes:
    """Return an array of a pickle as uint8.

    Raises:
        PlainPickleError: it is no array of bytes.
    """
    if not isinstance(value, _Array) or not isinstance(value.dtype, _Dtype) or value.dtype.name not in ("u1", "|u1"):
        raise PlainPickleError("it holds no array of bytes")
    data, shape = value.data, value.shape
    if isinstance(data, str):  # from Python 2
        data = data.encode("latin-1", "replace")
    if not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
        raise PlainPickleError("it holds no array of bytes")
    if not all(type(side) is int and side >= 0 for side in shape) or int(np.prod(shape, dtype=object)) != len(data):
        raise PlainPickleError("it holds an array whose shape does not fit its bytes")
    return np.frombuffer(bytes(data), np.uint8).reshape(shape, order="F" if value.fortran else "C")
