"""The tool `slug`, served by plain NATS and JSON."""

import asyncio
import json
import os
import re

import nats

TOOL = {
    "name": "slug",
    "description": "Makes a text fit for a web address: lower case, words joined by hyphens.",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    "effect": "pure",
    "timeout_ms": 5000,
}


async def main():
    login = {"user": os.environ.get("NATS_USER"), "password": os.environ.get("NATS_PASSWORD")}
    bus = await nats.connect(os.environ["NATS_URL"], inbox_prefix="_INBOX_worker", max_reconnect_attempts=-1, **login)

    async def call(message):
        text = json.loads(message.data)["arguments"]["text"]
        words = re.findall(r"\w+", text.lower())
        if words:
            return await message.respond(json.dumps({"result": "-".join(words)}).encode())
        error = {"Nats-Service-Error-Code": "400", "Nats-Service-Error": f"`text` is {text!r}, but must have a word"}
        await bus.publish(message.reply, headers=error)

    await bus.subscribe("tools.slug", "workers", call)
    while True:
        try:
            answer = await bus.request("tool.registry.register", json.dumps(TOOL).encode(), timeout=5)
            break
        except nats.errors.Error:
            await asyncio.sleep(1)  # the platform is not there yet
    if answer.headers:
        raise SystemExit(answer.headers.get("Nats-Service-Error"))
    print("serving tools.slug", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
