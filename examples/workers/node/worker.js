// The tool `roman`, served by plain NATS and JSON.
import { connect, headers } from "@nats-io/transport-node";

const TOOL = {
  name: "roman",
  description: "Writes a number from 1 to 3999 in Roman numerals.",
  parameters: { type: "object", properties: { number: { type: "integer", minimum: 1 } }, required: ["number"] },
  effect: "pure",
  timeout_ms: 5000,
};
const SIGNS = Object.entries({ M: 1000, CM: 900, D: 500, CD: 400, C: 100, XC: 90, L: 50, XL: 40, X: 10, IX: 9, V: 5, IV: 4, I: 1 });

function roman(number) {
  if (number > 3999) throw new Error(`\`number\` is ${number}, but must be at most 3999`);
  return SIGNS.reduce(([text, rest], [sign, value]) => [text + sign.repeat(rest / value), rest % value], ["", number])[0];
}

function answer(message) {
  try {
    message.respond(JSON.stringify({ result: roman(message.json().arguments.number) }));
  } catch (problem) {
    const error = headers();
    error.set("Nats-Service-Error-Code", "400");
    error.set("Nats-Service-Error", problem.message);
    message.respond("", { headers: error });
  }
}

const { NATS_URL: servers, NATS_USER: user, NATS_PASSWORD: pass } = process.env;
const bus = await connect({ servers, user, pass, inboxPrefix: "_INBOX_worker", maxReconnectAttempts: -1, waitOnFirstConnect: true });
bus.subscribe("tools.roman", { queue: "workers", callback: (_error, message) => answer(message) });
for (let reply; !reply; ) {
  // No reply: the platform is not there yet.
  reply = await bus.request("tool.registry.register", JSON.stringify(TOOL), { timeout: 5000 }).catch(() => null);
  if (!reply) await new Promise((resolve) => setTimeout(resolve, 1000));
  else if (reply.headers?.has("Nats-Service-Error")) throw new Error(reply.headers.get("Nats-Service-Error"));
}
console.log("serving tools.roman");
