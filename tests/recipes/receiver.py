"""python3 receiver.py 8080; secret and login come from the environment."""
import base64, hmac, json, os, re, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote
from urllib.request import Request, urlopen

KEY = base64.b64decode(os.environ["TRACKER_SECRET"].removeprefix("whsec_"))
LOGIN = base64.b64encode(f"{os.environ['TRACKER_USER']}:{os.environ['TRACKER_PASSWORD']}".encode()).decode()
LOCK, KEPT = threading.Lock(), {}  # KEPT belongs into your database

def signed(headers, body):
    at = headers.get("webhook-timestamp", "")
    if not re.fullmatch("[0-9]{1,12}", at) or abs(time.time() - int(at)) > 300:
        return False
    message = f"{headers.get('webhook-id')}.{at}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.digest(KEY, message, "sha256"))
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any([hmac.compare_digest(right, one) for one in given])

def judge(event):
    it, account = event["resource"], event["account"]
    key = (account["driver"], account["provider"], account["id"], it["collection"], it["id"])
    kept, revision = KEPT.get(key), it["revision"]
    merged = event.get("merged", {}).get("count", 0)
    if kept is not None and revision < kept:
        return "late", key
    if kept == revision and not event.get("snapshot"):
        return "duplicate", key
    hole = kept is not None and revision > kept + 1 + merged
    KEPT[key] = revision  # together with what you do about event["to"], in one transaction
    return "snapshot" if event.get("snapshot") else "hole" if hole else "new", key

def resync(key, revision):
    url = f"{os.environ['TRACKER']}/{key[3]}/{quote(key[4], '')}"
    with urlopen(Request(url, headers={"accept": "application/json", "authorization": f"Basic {LOGIN}"})) as answer:  # 404: it is gone
        [now] = json.load(answer).values()
    with LOCK:
        if KEPT[key] == revision:  # otherwise a later event has said more
            print(f"resynced {key[3]}/{key[4]} {now['state']}", flush=True)

def receive(path, headers, body):
    if not signed(headers, body):
        return 401, "refused"
    if path != "/cb":  # nobody wants these any more
        return 410, "ended"
    event = json.loads(body)
    if event.get("test"):
        return 204, f"test {event['hook']['id']}"
    with LOCK:
        word, key = judge(event)
    if word == "hole":
        threading.Thread(target=resync, args=(key, event["resource"]["revision"])).start()
    return 204, f"{word} {key[3]}/{key[4]} {event['resource']['revision']}"

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 1 << 20))
        status, said = receive(self.path, self.headers, body)
        print(said, flush=True)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
print(f"listens on {server.server_port}", flush=True)
server.serve_forever()
