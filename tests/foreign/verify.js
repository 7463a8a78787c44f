// Judges a callback as a receiver with the public Standard Webhooks library for JavaScript would. Input, output and exit
// status are those of tests/moto/verify.py, which does the same with the one for Python.

const { readFileSync } = require("node:fs");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

let callback, webhook;
try {
  callback = JSON.parse(readFileSync(0, "utf8"));
  webhook = new Webhook(callback.secret);
} catch (error) {
  console.error(`no callback to judge: ${error}`);
  process.exit(2);
}

try {
  console.log(JSON.stringify(webhook.verify(callback.body, callback.headers)));
} catch (error) {
  if (!(error instanceof WebhookVerificationError)) throw error;
  console.error(`refused: ${error.message}`);
  process.exit(1);
}
