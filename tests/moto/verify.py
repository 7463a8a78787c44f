"""Judges a callback as a receiver with the public Standard Webhooks library would.

Reads one JSON object from standard input:

    {"secret": "whsec_...", "headers": {"webhook-id": "...", ...}, "body": "the body's exact text"}

Exit status 0: the signature is good; the parsed body is printed. 1: it is not, with the reason on standard error.
2: the input makes no sense.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

try:
    callback = json.load(sys.stdin)
    secret, body = callback["secret"], callback["body"]
    headers = {name.lower(): value for name, value in callback["headers"].items()}
    webhook = Webhook(secret)
except Exception as error:  # noqa: BLE001: whatever it is, the caller gave nonsense
    print(f"no callback to judge: {error!r}", file=sys.stderr)
    sys.exit(2)

try:
    print(json.dumps(webhook.verify(body, headers)))
except WebhookVerificationError as error:
    print(f"refused: {error}", file=sys.stderr)
    sys.exit(1)
