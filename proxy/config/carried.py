"""A checked configuration on its way to another process of the same gate: its values, from which it is built anew.

Values and not the objects made of them, because secrets refuse to leave a process by themselves. Numbers that know how
they were written stay so: amounts of money are read from that text.
"""

from __future__ import annotations

from msgspec import msgpack

from proxy.config.load import rebuilt
from proxy.config.schema import Config
from proxy.config.tree import Integer, Number, typed

WRITTEN = 1


def carry(config: Config) -> bytes:
    return msgpack.encode(config.values, enc_hook=_put)


def carried(data: bytes) -> Config:
    """Raises ConfigError, msgspec.DecodeError."""
    return rebuilt(msgpack.Decoder(dict, ext_hook=_take).decode(data))


def _put(value: object) -> msgpack.Ext:
    if isinstance(value, Integer | Number):
        return msgpack.Ext(WRITTEN, value.written.encode())
    raise TypeError(f"{type(value).__name__} is no value of a configuration")


def _take(code: int, data: memoryview) -> object:
    return typed(bytes(data).decode())
