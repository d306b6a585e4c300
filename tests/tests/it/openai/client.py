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
    assert client.models.retrieve("scripted").owned_by == "openai"
    assert client.models.retrieve("openai/anything").id == "openai/anything"
    error = refused(openai.NotFoundError, lambda: client.models.retrieve("nothing"))
    assert error.code == "model_not_found", error.body


def reasoning():
    reply = ask("think")
    assert reply.choices[0].message.reasoning_content == "Boats float.", reply
    thought, text = "", ""
    for chunk in ask("think", stream=True):
        for choice in chunk.choices:
            # What was thought comes before what is said.
            assert not (text and getattr(choice.delta, "reasoning_content", None)), chunk
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            text += choice.delta.content or ""
    assert (thought, text) == ("Boats float.", "Two boats and a crane."), (thought, text)


def respond(text, **more):
    return client.responses.create(model=more.pop("model", "scripted"), input=more.pop("input", text), **more)


def responses():
    reply = respond("boats", instructions="Be brief.", max_output_tokens=50, temperature=0.2, metadata={"a": "b"})
    assert reply.output_text == "Two boats and a crane." and reply.status == "completed", reply
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (11, 7, 18), reply
    assert reply.id.startswith("resp_") and reply.metadata == {"a": "b"} and reply.store is False, reply
    reply = respond("think")
    assert [item.type for item in reply.output] == ["reasoning", "message"], reply
    assert reply.output[0].summary[0].text == "Boats float.", reply
    parsed = client.responses.parse(model="scripted", input="json", text_format=Boats)
    assert parsed.output_parsed == Boats(boats=2, crane=True), parsed
    assert respond("boats", model="agent:poet").output_text == "Two boats and a crane."


def streamed_responses():
    with client.responses.stream(model="scripted", input="think") as stream:
        kinds, text = [], ""
        for event in stream:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        final = stream.get_final_response()
    assert text == final.output_text == "Two boats and a crane.", final
    assert final.usage.total_tokens == 18 and final.output[0].summary[0].text == "Boats float.", final
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert "response.reasoning_summary_text.delta" in kinds, kinds


FUNCTION = {"type": "function", "strict": True, **{key: LOOK["function"][key] for key in ("name", "description", "parameters")}}


def response_tools():
    question = [{"role": "user", "content": "look twice"}]
    reply = respond("", input=question, tools=[FUNCTION])
    calls = [item for item in reply.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["place"] for call in calls] == ["harbour", "market"], reply
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "a boat"} for call in calls]
    reply = respond("", input=question + reply.output + results, tools=[FUNCTION])
    assert reply.output_text == "Seen: a boat.", reply
    with client.responses.stream(model="scripted", input=question, tools=[FUNCTION]) as stream:
        final = stream.get_final_response()
    calls = [item for item in final.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["place"] for call in calls] == ["harbour", "market"], final


def response_errors():
    error = refused(openai.BadRequestError, lambda: respond("boats", previous_response_id="resp_1"))
    assert (error.code, error.param) == ("unsupported_parameter", "previous_response_id"), error.body
    error = refused(openai.BadRequestError, lambda: respond("boats", tools=[{"type": "web_search"}]))
    assert error.param == "tools[0].type", error.body
    error = refused(openai.RateLimitError, lambda: respond("busy"))
    assert error.code == "rate_limit_exceeded", error.body
    kinds = [event.type for event in respond("breaks", stream=True)]
    assert kinds[-1] == "response.failed" and "response.output_text.delta" in kinds, kinds


def vectors_without_a_provider():
    found = client.embeddings.create(model="offline/hashing-256", input=["a boat", "the boats", "a boat"])
    vectors = [entry.embedding for entry in found.data]
    assert len(vectors[0]) == 256 and vectors[0] == vectors[2], found


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
CHECKS += [models, agent, at_once, reasoning, responses, streamed_responses, response_tools, response_errors]
CHECKS += [vectors_without_a_provider]

for check in CHECKS:
    check()
    print("passed:", check.__name__, flush=True)
