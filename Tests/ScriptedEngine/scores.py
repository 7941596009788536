"""Scores of the scripted engine: they follow from the texts alone; and the faults that a document asks for by `fault: NAME`."""

import hashlib
import json
import math


def score(query: str, document: str) -> float:
    """0 to 1, in steps that floats hold exactly."""
    return hashlib.sha256(json.dumps([query, document]).encode()).digest()[0] / 256


def answer(body: dict) -> dict:
    """What /v1/rerank says, highest first as servers do."""
    query, documents = body["query"], body["documents"]
    faults = {text.removeprefix("fault: ") for text in documents if text.startswith("fault: ")}
    results = [{"index": index, "relevance_score": score(query, text)} for index, text in enumerate(documents)]
    results.sort(key=lambda result: -result["relevance_score"])
    if "short" in faults:
        results.pop()
    if "twice" in faults:
        results.append(dict(results[0]))
    if "range" in faults:
        results[-1]["relevance_score"] = 1.5
    if "nothing" in faults:
        results[-1]["relevance_score"] = None
    if "place" in faults:
        results[-1]["index"] = len(documents)
    count = sum(math.ceil(len((query + text).encode()) / 4) for text in documents)
    return {"object": "list", "model": body["model"], "results": results, "usage": {"prompt_tokens": count, "total_tokens": count}}
