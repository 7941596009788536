#!/usr/bin/env python3
"""Shows calls made with the openai SDK as it comes: a streamed chat completion, and one of each other surface; then how to go on from there."""

import os

import environment
import surfaces

LOGS = environment.ROOT / ".run" / "log"
QUESTION = "Say hello to the world in one short sentence."


def main() -> None:
    demo = environment.read(environment.DEMO)
    # The SDK's HTTP client takes its authorities from here when it is made.
    os.environ["SSL_CERT_FILE"] = demo["XEROTIER_CA_FILE"]
    import openai

    # The timeout is for each silence, not for the whole answer.
    client = openai.OpenAI(base_url=demo["XEROTIER_BASE_URL"], api_key=demo["XEROTIER_API_KEY"], timeout=60, max_retries=0)
    print(f"> {QUESTION}")
    try:
        stream_answer(client, demo["XEROTIER_ENDPOINT"])
        # Servers of others (XEROTIER_DEMO_UPSTREAM) have a chat model alone, and may know no completions.
        if "XEROTIER_EMBEDDINGS_ENDPOINT" in demo:
            print()
            surfaces.completion(client, demo["XEROTIER_ENDPOINT"])
            surfaces.embeddings(client, demo["XEROTIER_EMBEDDINGS_ENDPOINT"])
            surfaces.rerank(client, demo["XEROTIER_RERANK_ENDPOINT"])
            surfaces.score(client, demo["XEROTIER_RERANK_ENDPOINT"])
        print()
        surfaces.files(client)
    except openai.APIError as error:
        raise SystemExit(f"\nthe demonstration failed: {error}; see {LOGS}") from None
    print_how_to_go_on(demo)


def stream_answer(client: "openai.OpenAI", model: str) -> None:
    finish = None
    with client.chat.completions.create(model=model, messages=[{"role": "user", "content": QUESTION}], max_tokens=64, stream=True) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
                finish = choice.finish_reason or finish
    print(f"\n(answered by {stream.response.headers['x-xerotier-worker-id']})")
    if finish is None:
        raise SystemExit(f"the stream ended without a finish_reason; see {LOGS}")


def print_how_to_go_on(demo: dict[str, str]) -> None:
    print(
        f"""
base URL  {demo["XEROTIER_BASE_URL"]}   (plain http: {demo["XEROTIER_HTTP_URL"]})
key       {demo["XEROTIER_API_KEY"]}
try       curl -N --cacert {demo["XEROTIER_CA_FILE"]} {demo["XEROTIER_BASE_URL"]}/chat/completions \\
            -H 'Authorization: Bearer {demo["XEROTIER_API_KEY"]}' -H 'Content-Type: application/json' \\
            -d '{{"model":"{demo["XEROTIER_ENDPOINT"]}","stream":true,"messages":[{{"role":"user","content":"Hello!"}}]}}'
settings  {environment.DEMO}
logs      {LOGS}   (make logs; make status; make stop)"""
    )


if __name__ == "__main__":
    main()
