"""The agent `editor`: a program of its own, by plain NATS and JSON. Workflows call it, other agents ask it and hand over to it."""

import asyncio
import json
import os

import nats


async def main():
    login = {"user": os.environ.get("NATS_USER"), "password": os.environ.get("NATS_PASSWORD")}
    bus = await nats.connect(os.environ["NATS_URL"], inbox_prefix="_INBOX_worker", max_reconnect_attempts=-1, **login)

    async def say(what, **fields):
        await bus.publish(f"agent.editor.{what}", json.dumps({"agent_id": "editor", **fields}).encode())

    async def work(message):
        task = json.loads(message.data)
        await say("status", status="running")
        text = str(task["params"]["input"])
        await say("task.completed", task_id=task["task_id"], result={"edited": " ".join(text.split()).capitalize()})
        await say("status", status="idle")

    await bus.subscribe("agent.editor.tasks", "workers", work)
    me = {"name": "editor", "description": "Tidies a text.", "timeout_ms": 60000}
    while True:
        try:
            answer = await bus.request("agent.registry.register", json.dumps(me).encode(), timeout=5)
            break
        except nats.errors.Error:
            await asyncio.sleep(1)  # the platform is not there yet
    if answer.headers:
        raise SystemExit(answer.headers.get("Nats-Service-Error"))
    await say("status", status="idle")
    print("serving agent.editor.tasks", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
