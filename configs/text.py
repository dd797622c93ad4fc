"""Names of files that are no text, as text, or that cannot stand in a line.

A file name is bytes; where they are no UTF-8, Python has a character that stands for each such
byte and that no encoding takes.
"""

import os
import shlex
import unicodedata
from pathlib import Path


def byte_of(character: str) -> bytes:
    """Return the byte of a file name that a character stands for; nothing if for none."""
    is_byte = "\udc80" <= character <= "\udcff"
    return bytes([ord(character) - 0xDC00]) if is_byte else b""


def is_text(name: str) -> bool:
    """Return whether every character of a name can be encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def has_control(name: str) -> bool:
    """Return whether a name has control characters, or ends a line."""
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name)


def as_text(name: str) -> str:
    r"""Return a name with what cannot be encoded written as ``\\xff``."""
    if is_text(name):
        return name
    escaped = (byte_of(c) or c.encode("utf-8", "backslashreplace") for c in name)
    return b"".join(escaped).decode("utf-8", "backslashreplace")


def path_word(path: Path) -> str:
    """Return a path that a command reads as one, not as an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def quoted(word: str) -> str:
    """Return a word as it is pasted into a shell; one that is no text as ``$'...'``."""
    if is_text(word):
        return shlex.quote(word)
    escaped = (
        chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(word)
    )
    return f"$'{''.join(escaped)}'"
