"""One call of each surface beside chat, shown in a line or a few. What the models say here is known, so anything else is a fault."""

import math
import typing

if typing.TYPE_CHECKING:
    import openai

PROMPT = "Once upon a time"
QUESTION = "How many people live in Berlin?"
TEXTS = ["Bread needs flour and water.", "Berlin has a population of 3,520,031 registered inhabitants.", "Berlin is a city in Germany."]
BEST = 1


def completion(client: "openai.OpenAI", model: str) -> None:
    made = client.completions.create(model=model, prompt=PROMPT, max_tokens=12, temperature=0)
    [choice] = made.choices
    if not choice.text or not choice.finish_reason:
        raise SystemExit(f"the completion of {PROMPT!r} is empty")
    print(f"completion  {PROMPT}{choice.text.rstrip()} …")


def embeddings(client: "openai.OpenAI", model: str) -> None:
    """The SDK asks for base64, unasked."""
    made = client.embeddings.create(model=model, input=[QUESTION, *TEXTS])
    question, *texts = [each.embedding for each in made.data]
    cosines = [cosine(question, text) for text in texts]
    show(f"embeddings  of {len(question)} dimensions; cosine with \"{QUESTION}\"", cosines)


def rerank(client: "openai.OpenAI", model: str) -> None:
    answer = post(client, "/rerank", model=model, query=QUESTION, documents=TEXTS)
    order = [result["index"] for result in answer["results"]]
    print(f"rerank      best first: {', '.join(TEXTS[index] for index in order)}")
    check("rerank", order[0])


def score(client: "openai.OpenAI", model: str) -> None:
    answer = post(client, "/score", model=model, text_1=QUESTION, text_2=TEXTS)
    show(f"score       of each text for \"{QUESTION}\"", [each["score"] for each in answer["data"]])


def files(client: "openai.OpenAI") -> None:
    """A file there and back, and gone."""
    content = "\n".join(TEXTS).encode()
    made = client.files.create(file=("texts.txt", content), purpose="user_data")
    back = client.files.content(made.id).read()
    client.files.delete(made.id)
    if back != content:
        raise SystemExit(f"{made.id} came back as {len(back)} other bytes")
    print(f"files       {made.filename} of {made.bytes} bytes came back as it was: {made.id}")


def post(client: "openai.OpenAI", path: str, **body: object) -> dict:
    """The SDK has no method for what is not OpenAI's."""
    return client.post(path, body=body, cast_to=object)


def show(title: str, numbers: list[float]) -> None:
    print(title)
    for number, text in zip(numbers, TEXTS, strict=True):
        print(f"            {number:6.3f}  {text}")
    check(title.split()[0], numbers.index(max(numbers)))


def check(surface: str, found: int) -> None:
    if found != BEST:
        raise SystemExit(f"{surface} finds {TEXTS[found]!r} nearest to {QUESTION!r}, not {TEXTS[BEST]!r}: the model's weights are not what they should be")


def cosine(left: list[float], right: list[float]) -> float:
    return sum(map(float.__mul__, left, right)) / math.hypot(*left) / math.hypot(*right)
