"""Files of a stack are replaced whole or not at all, and only when their text differs."""

import hashlib
import pathlib


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def replace_file(path: pathlib.Path, text: str) -> bool:
    """Writes the file if its text differs, readable by the owner alone; answers whether it did."""
    if path.exists() and path.read_text() == text:
        return False
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)
    return True
