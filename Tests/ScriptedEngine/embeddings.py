"""Embeddings of the scripted engine: vectors that follow from the input alone, and the faults that an input asks for by `fault: NAME`."""

import base64
import hashlib
import json
import math
import struct

SIZE = 8
NAN = base64.b64encode(struct.pack("<f", math.nan) * SIZE).decode()


def vector(given, size: int = SIZE) -> list:
    """Floats that single precision holds exactly, in [-1, 1)."""
    digest = hashlib.sha256(json.dumps(given).encode()).digest()
    return [byte / 128 - 1 for byte in digest[:size]]


def tokens(given) -> int:
    return len(given) if isinstance(given, list) else math.ceil(len(given.encode()) / 4)


def is_many(given) -> bool:
    return isinstance(given, list) and bool(given) and isinstance(given[0], (str, list))


def answer(body: dict) -> dict:
    """What /v1/embeddings says; the size of vectors can be chosen, up to `SIZE`."""
    given = body["input"] if is_many(body["input"]) else [body["input"]]
    faults = {text.removeprefix("fault: ") for text in given if isinstance(text, str) and text.startswith("fault: ")}
    vectors = [vector(each, min(body.get("dimensions") or SIZE, SIZE)) for each in given]
    as_text = (body.get("encoding_format") == "base64") != ("form" in faults)
    if "size" in faults:
        vectors[-1] = vectors[-1][:-1]
    shown = [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() if as_text else each for each in vectors]
    if "nothing" in faults:
        shown[-1] = [None] * SIZE
    if "nan" in faults:
        shown[-1] = NAN
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(shown)]
    if "short" in faults:
        data.pop()
    if "twice" in faults:
        data.append(dict(data[0]))
    if "place" in faults:
        data[-1]["index"] = 2**63 - 1
    if "backwards" in faults:
        data.reverse()
    count = sum(tokens(each) for each in given)
    usage = {} if "uncounted" in faults else {"usage": {"prompt_tokens": count, "total_tokens": count}}
    return {"object": "list", "data": data, "model": body.get("model", "scripted-model"), **usage}
