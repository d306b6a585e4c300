"""OpenAI's own client against the gateway at BASE_URL: each check says its name when it has passed."""

import asyncio
import json
import os

import openai
from pydantic import BaseModel

BASE_URL = os.environ["BASE_URL"]
OPTIONS = {"base_url": BASE_URL, "api_key": "any", "max_retries": 0, "timeout": 60}
client = openai.OpenAI(**OPTIONS)
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks at a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        "strict": True,
    },
}


def ask(text, **more):
    messages = more.pop("messages", [{"role": "user", "content": text}])
    return client.chat.completions.create(model=more.pop("model", "scripted"), messages=messages, **more)


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def plain():
    reply = ask(
        "boats",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "ada", "content": [{"type": "text", "text": "boats"}]},
        ],
        temperature=0.2, top_p=0.9, max_completion_tokens=50, seed=7, stop=["END"], n=1,
        user="ada", metadata={"a": "b"}, store=False,
    )  # fmt: skip
    choice = reply.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Two boats and a crane.", "stop"), reply
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (11, 7, 18), reply
    assert reply.object == "chat.completion" and reply.id.startswith("chatcmpl-") and reply.model == "scripted"


def streamed():
    text, usage, reasons = "", None, []
    for chunk in ask("boats", stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons.append(choice.finish_reason)
    assert text == "Two boats and a crane." and usage.total_tokens == 18, (text, usage)
    assert reasons[-1] == "stop" and set(reasons[:-1]) == {None} and len(reasons) > 4, reasons


def stream_helper():
    with client.chat.completions.stream(
        model="scripted", messages=[{"role": "user", "content": "boats"}]
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"content.delta", "content.done"} <= kinds, kinds
    assert final.choices[0].message.content == "Two boats and a crane."


def tools():
    question = {"role": "user", "content": "look twice"}
    reply = ask("", messages=[question], tools=[LOOK], tool_choice="auto")
    message = reply.choices[0].message
    assert reply.choices[0].finish_reason == "tool_calls" and message.content is None, reply
    places = [json.loads(call.function.arguments)["place"] for call in message.tool_calls]
    assert places == ["harbour", "market"], reply
    answers = [{"role": "tool", "tool_call_id": call.id, "content": "a boat"} for call in message.tool_calls]
    reply = ask("", messages=[question, message, *answers], tools=[LOOK])
    assert reply.choices[0].message.content == "Seen: a boat.", reply
    reply = ask("", messages=[question], tools=[LOOK], parallel_tool_calls=False)
    assert len(reply.choices[0].message.tool_calls) == 1, reply


def streamed_tools():
    with client.chat.completions.stream(
        model="scripted", messages=[{"role": "user", "content": "look twice"}], tools=[LOOK]
    ) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert [call.function.parsed_arguments["place"] for call in calls] == ["harbour", "market"], calls


class Boats(BaseModel):
    boats: int
    crane: bool


def json_schema():
    reply = client.chat.completions.parse(
        model="scripted", messages=[{"role": "user", "content": "json"}], response_format=Boats
    )
    assert reply.choices[0].message.parsed == Boats(boats=2, crane=True), reply


def images():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
    reply = ask("", messages=[{"role": "user", "content": [{"type": "text", "text": "boats"}, image]}])
    assert reply.choices[0].message.content == "Two boats and a crane.", reply


def errors():
    error = refused(openai.BadRequestError, lambda: ask("boats", extra_body={"max_token": 3}))
    assert (error.code, error.param, error.type) == ("unknown_parameter", "max_token", "invalid_request_error"), error.body
    assert len(error.request_id) == 32, error.request_id
    error = refused(openai.BadRequestError, lambda: ask("boats", n=2))
    assert error.param == "n", error.body
    error = refused(openai.RateLimitError, lambda: ask("busy"))
    assert error.response.headers["retry-after"] == "7" and error.code == "rate_limit_exceeded", error.body
    error = refused(openai.RateLimitError, lambda: list(ask("busy", stream=True)))
    assert error.code == "rate_limit_exceeded", error.body
    refused(openai.BadRequestError, lambda: ask("wrong"))
    refused(openai.InternalServerError, lambda: ask("broken"))
    refused(openai.NotFoundError, lambda: ask("boats", model="agent:nobody"))


def breaks_off():
    text = ""

    def read():
        nonlocal text
        for chunk in ask("breaks", stream=True):
            text += chunk.choices[0].delta.content or ""

    error = refused(openai.APIError, read)
    assert text.startswith("Two") and error.type == "server_error", (text, error.body)


def embeddings():
    texts = ["a boat", "a crane", "a boat"]
    found = client.embeddings.create(model="text-embedding-3-small", input=texts)
    vectors = [entry.embedding for entry in found.data]
    assert len(vectors[0]) == 64 and vectors[0] == vectors[2] != vectors[1], found
    plain = client.embeddings.create(model="text-embedding-3-small", input="a boat", encoding_format="float")
    assert all(abs(a - b) < 1e-6 for a, b in zip(plain.data[0].embedding, vectors[0])), plain
    assert found.usage.total_tokens > 0, found.usage
    error = refused(openai.BadRequestError, lambda: client.embeddings.create(model="m", input=[1, 2]))
    assert error.param == "input", error.body


def models():
    ids = [model.id for model in client.models.list()]
    assert "scripted" in ids and "agent:poet" in ids, ids


def agent():
    reply = ask("boats", model="agent:poet")
    assert reply.choices[0].message.content == "Two boats and a crane.", reply
    assert reply.usage.total_tokens > 0, reply.usage
    text = "".join(chunk.choices[0].delta.content or "" for chunk in ask("boats", model="agent:poet", stream=True))
    assert text == "Two boats and a crane.", text


def at_once():
    async def several():
        async with openai.AsyncOpenAI(**OPTIONS) as client:

            async def one():
                question = {"model": "scripted", "messages": [{"role": "user", "content": "boats"}]}
                stream = await client.chat.completions.create(**question, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*[one() for _ in range(20)])

    assert asyncio.run(several()) == ["Two boats and a crane."] * 20


CHECKS = [plain, streamed, stream_helper, tools, streamed_tools, json_schema, images, errors, breaks_off, embeddings]
CHECKS += [models, agent, at_once]

for check in CHECKS:
    check()
    print("passed:", check.__name__, flush=True)
