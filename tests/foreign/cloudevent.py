"""Reads a callback as a receiver with the public CloudEvents library would: an HTTP message in structured mode.

Reads one JSON object from standard input:

    {"headers": {"content-type": "...", ...}, "body": "the body's exact text"}

Exit status 0: it is an event; its attributes, extensions and data are printed as one JSON object. 1: it is none, with the
reason on standard error. 2: the input makes no sense.
"""

import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event

try:
    callback = json.load(sys.stdin)
    headers = {name.lower(): value for name, value in callback["headers"].items()}
    body = callback["body"].encode()
except Exception as error:  # noqa: BLE001: whatever it is, the caller gave nonsense
    print(f"no callback to read: {error!r}", file=sys.stderr)
    sys.exit(2)

# The library takes any JSON for structured mode; that it is meant as such, this header says.
if headers.get("content-type", "").split(";")[0].strip() != "application/cloudevents+json":
    print(f"not in structured mode: {headers.get('content-type')}", file=sys.stderr)
    sys.exit(1)

try:
    event = from_http_event(HTTPMessage(headers=headers, body=body))
except Exception as error:  # noqa: BLE001: the library has many, and all mean the same here
    print(f"refused: {error!r}", file=sys.stderr)
    sys.exit(1)

print(json.dumps({**event.get_attributes(), "data": event.get_data()}, default=lambda time: time.isoformat()))
