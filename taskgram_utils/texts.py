"""Text files read and written whole, and YAML 1.2."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from taskgram_utils.errors import InputError, require

WIDE = "is UTF-16 or UTF-32 text and not UTF-8; convert it, say by iconv -f UTF-16 -t UTF-8"


def is_wide(data: bytes) -> bool:
    """Whether a file that begins so is UTF-16 or UTF-32: their mark, or every other byte a NUL."""
    start = data[:16]
    nul = len(start) == 16 and not (any(start[::2]) and any(start[1::2]))
    return nul or start[:2] in (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file without its byte order mark; InputError if it is not UTF-8."""
    try:
        data = path.read_bytes()
        require(not is_wide(data), f"{path}: {WIDE}")
        packed = data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))
        require(not packed, f"{path}: is compressed; unpack it first")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 text (byte {error.start:,})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def write_text(path: Path, text: str) -> None:
    """Write a text to a file beside ``path`` and rename it, so that no reader finds half of it."""
    fresh = path.with_name(f".writing-{path.name}-{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


def read_yaml(text: str, where: str) -> Any:
    """The value of a YAML 1.2 text; InputError, which names ``where``, if it is none."""
    try:
        return yaml.load(text, _Yaml)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InputError(f"{where}: no YAML ({' '.join(str(error).split())})") from error


class _Yaml(yaml.SafeLoader):
    """The core schema of YAML 1.2: 0500 is 500; 1:30, yes, off and dates are text; no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        for i, (key, _) in enumerate(node.value):
            if any(key.value == other.value for other, _ in node.value[:i]):
                twice = f"{key.value} stands twice"
                raise yaml.constructor.ConstructorError(None, None, twice, key.start_mark)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Yaml.yaml_implicit_resolvers = {}  # none of YAML 1.1
_Yaml.add_constructor("tag:yaml.org,2002:int", _Yaml.construct_yaml_int)
for _kind, _form in {
    "null": r"~|null|Null|NULL|", "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)"
             r"|\.(nan|NaN|NAN)",
}.items():
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_form})\Z"), None)
