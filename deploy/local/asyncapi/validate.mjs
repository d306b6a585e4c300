// Checks AsyncAPI documents: `node validate.mjs FILE…`. Errors and warnings fail.
import { readFile } from "node:fs/promises";
import asyncapi from "@asyncapi/parser";

// The parser's severities go on with information and hint, such as that a newer version of AsyncAPI exists.
const SEVERITIES = ["error", "warning"];
let bad = 0;
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await new asyncapi.Parser().parse(await readFile(file, "utf8"));
  for (const { severity, path, message } of diagnostics) {
    if (severity >= SEVERITIES.length) continue;
    bad += 1;
    console.log(`${file}: ${SEVERITIES[severity]} at ${path.join("/")}: ${message}`);
  }
  if (document) {
    const [channels, operations, messages] = [document.channels(), document.operations(), document.components().messages()];
    console.log(`${file}: AsyncAPI ${document.version()}, ${channels.length} channels, ${operations.length} operations, ${messages.length} messages`);
  } else {
    bad += 1;
  }
}
process.exit(bad > 0 ? 1 : 0);
