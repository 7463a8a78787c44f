"""Keeps tables like Aeolus Conductor's up to date from what Tracker tells. It runs as it is, and is there to copy from.

    python3 conductor.py conductor.db 8080

`design/conductor.md` says what is behind it. It needs Python 3.9 and nothing else, and in the environment:

    TRACKER           https://tracker.example/api;driver=ec2;provider=us-east-1
    TRACKER_USER, TRACKER_PASSWORD   the cloud's own credentials
    TRACKER_SECRET    whsec_..., which signs the callbacks
    TRACKER_HOOK      where Tracker is to call; without it http://127.0.0.1:PORT/cb
    CONDUCTOR_WAYS    `callbacks`, `feed`, or without it both
    CONDUCTOR_DRIVER  the provider type as Conductor calls it: ec2, openstack, rhevm, vsphere ...
"""
import base64, hmac, ipaddress, json, os, re, sqlite3, sys, threading, time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

SUBSCRIBER = "conductor"
COLLECTIONS = ("instances", "realms")
ACCOUNT = "account"  # what is said of the account: that its cloud cannot be reached, and that it can again
PAGE = 100  # changes in one answer of the feed
PAGES = 100  # such answers in one turn; the rest comes in the next

# Conductor's words. What is not in here was `pending` to its checker, and is.
STATES = {
    "PENDING": "pending",
    "RUNNING": "running",
    "STOPPED": "stopped",
    "STOPPING": "shutting_down",
    "SHUTTING_DOWN": "shutting_down",
}
# Provider types whose machines are stopped when they have been made, and whose stops get stuck.
STOPPED_WHEN_MADE = {"rhevm", "vsphere"}
# Provider types whose machines go away when they are stopped.
GONE_WHEN_STOPPED = {"ec2", "openstack"}
STUCK_AFTER = 120  # seconds in `shutting_down`, and those for which a start that is under way is believed in
AGAIN_AFTER = 60  # seconds, as long as a round of the checker
LIST_AFTER = 7 * 86400  # seconds: lists clear what was noted of what is gone, and find what nobody told
HEARD_AGO = 600  # seconds by which Tracker's clock may differ from ours

# Instants are seconds since 1970; Conductor has datetimes. The first four tables are Conductor's, as far as this is concerned with
# them; the others are what it needs to know of Tracker. There is one provider here, and one account of it.
TABLES = """
CREATE TABLE IF NOT EXISTS providers (id INTEGER PRIMARY KEY, available INTEGER NOT NULL);
INSERT OR IGNORE INTO providers VALUES (1, 1);
CREATE TABLE IF NOT EXISTS provider_realms (
    id INTEGER PRIMARY KEY, external_key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, available INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS instances (
    id INTEGER PRIMARY KEY, external_key TEXT UNIQUE, name TEXT NOT NULL, state TEXT NOT NULL, public_addresses TEXT,
    private_addresses TEXT, last_error TEXT, checked_at REAL NOT NULL, time_last_pending REAL, time_last_running REAL,
    time_last_shutting_down REAL, time_last_stopped REAL);
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY, task_target_id INTEGER NOT NULL, action TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tracker_known (
    collection TEXT, external_key TEXT, revision INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (collection, external_key));
CREATE TABLE IF NOT EXISTS tracker_places (name TEXT PRIMARY KEY, seq INTEGER NOT NULL);
"""


def chore(driver, state, running_at, stopping_at, task, now):
    """What the checker did besides watching: `start`, `stop` or None. `task` is the machine's last: action, state, created_at."""
    action, outcome, created_at = task or (None, None, 0)
    if driver not in STOPPED_WHEN_MADE:
        return None
    if state == "shutting_down" and stopping_at is not None and now - stopping_at > STUCK_AFTER:
        return None if action == "stop" and now - created_at < AGAIN_AFTER else "stop"
    # Made or started, and not seen running since. One that ran was stopped by somebody, who is to have his way.
    if state == "stopped" and action in ("create", "start") and created_at > (running_at or 0):
        if action == "create":
            return "start"
        believed = outcome == "finished" or (outcome == "pending" and now - created_at < STUCK_AFTER)
        return None if believed or now - created_at < AGAIN_AFTER else "start"
    return None


def ended(driver, task):
    """The word for a machine that is no more."""
    action, outcome, _ = task or (None, None, 0)
    was_asked = driver in GONE_WHEN_STOPPED and (action, outcome) == ("stop", "finished")
    return "stopped" if was_asked else "vanished"


def joined(addresses):
    """With commas, as Conductor keeps them: IPv4 and host names only. Sorted, as their order is no news. None: there is none."""

    def counts(text):
        try:
            return ipaddress.ip_address(text).version == 4
        except ValueError:
            return re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", text) is not None  # neither a MAC nor a console's address

    return ",".join(sorted(filter(counts, addresses))) or None


def instant(text):
    """Tracker's are all in UTC; Python before 3.11 cannot read all digits of a second's parts."""
    seconds, _, parts = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(seconds + "+00:00").timestamp() + float(f"0.{parts or 0}")


class Mirror:
    """The tables, and all that writes them. `now` says the time in seconds; `url` is where Tracker is to call."""

    def __init__(self, path, environment, now=time.time):
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.executescript(TABLES)
        self.lock, self.wake, self.now, self.url = threading.RLock(), threading.Event(), now, environment.get("TRACKER_HOOK")
        self.driver = environment.get("CONDUCTOR_DRIVER", "")
        ways = environment.get("CONDUCTOR_WAYS", "both")
        self.calls, self.follows = ways != "feed", ways != "callbacks"
        self.secret = environment["TRACKER_SECRET"]
        self.key = base64.b64decode(self.secret.removeprefix("whsec_"))
        self.tracker = environment["TRACKER"]
        login = f"{environment['TRACKER_USER']}:{environment['TRACKER_PASSWORD']}"
        self.login = "Basic " + base64.b64encode(login.encode()).decode()
        self.is_hooked = False

    # What is heard

    def is_signed(self, headers, body):
        at = headers.get("webhook-timestamp", "")
        if not re.fullmatch("[0-9]{1,12}", at) or abs(self.now() - int(at)) > 300:
            return False
        message = f"{headers.get('webhook-id')}.{at}.".encode() + body
        right = b"v1," + base64.b64encode(hmac.digest(self.key, message, "sha256"))
        given = headers.get("webhook-signature", "").encode().split(b" ")
        return any([hmac.compare_digest(right, one) for one in given])

    def callback(self, headers, body):
        """Status and a word. 2xx is said when all of it is written down."""
        if not self.is_signed(headers, body):
            return 401, "refused"
        event = json.loads(body)
        if event.get("test"):
            return 204, "test"
        with self.lock, self.db:
            word = self.hear(event)
            if word == "hole" and not self.follows:
                self.unplace()
            self.db.execute("INSERT OR REPLACE INTO tracker_places VALUES ('heard', ?)", (int(self.now()),))
        if word == "hole":
            self.wake.set()
        return 204, word

    def hear(self, event):
        """One event, from a callback or from the feed, inside a transaction. Says what it was."""
        it, seq, to = event["resource"], event["seq"], event["to"]
        collection, key, revision = it["collection"], it["id"], it["revision"]
        if collection not in COLLECTIONS and (collection, key) != (ACCOUNT, ACCOUNT):
            return "other"
        before, last = self.known(collection, key)
        if seq <= last:
            return "duplicate" if revision == before else "late"
        if collection == ACCOUNT:
            self.provider(to["state"] != "UNREACHABLE")  # refused credentials are the account's trouble
        elif collection == "realms":
            self.realm(key, it["name"], to and to["state"])
        else:
            to = to or {"state": None}
            why = "; ".join(reason["text"] for reason in event["why"]) if to["state"] == "ERROR" else ""
            addresses = (to.get("public_addresses") or [], to.get("private_addresses") or [])
            self.instance(key, it["name"], to["state"], addresses, instant(event["observed"]["at"]), why or None)
        self.db.execute("INSERT OR REPLACE INTO tracker_known VALUES (?, ?, ?, ?)", (collection, key, revision, seq))
        if event.get("snapshot"):
            return "snapshot"
        merged = event.get("merged", {}).get("count", 0)
        return "hole" if before is not None and revision > before + 1 + merged else "new"

    def known(self, collection, key):
        """The revision that is kept, and the number up to which this is known. A list knows its collection up to its own."""
        query = "SELECT revision, seq FROM tracker_known WHERE collection = ? AND external_key = ?"
        revision, seq = self.db.execute(query, (collection, key)).fetchone() or (None, 0)
        return revision, max(seq, self.place(collection) or 0)

    def merge(self, collection, members, seq):
        """A list that knows the log up to `seq`, inside a transaction. What came after that stands."""
        query = "SELECT external_key FROM tracker_known WHERE collection = ? AND seq > ?"
        newer = {key for (key,) in self.db.execute(query, (collection, seq))}
        table = "provider_realms" if collection == "realms" else "instances"
        gone = {key for (key,) in self.db.execute(f"SELECT external_key FROM {table} WHERE external_key IS NOT NULL")}
        for member in members:
            gone.discard(member["id"])
            if member["id"] in newer:
                continue
            if collection == "realms":
                self.realm(member["id"], member.get("name"), member["state"])
            else:
                addresses = [[one["address"] for one in member[which]] for which in ("public_addresses", "private_addresses")]
                checked = member.get("tracking", {}).get("checked")
                at = instant(checked) if checked else self.now()
                self.instance(member["id"], member.get("name"), member["state"], addresses, at, None)
        is_live = members and not any(member.get("tracking", {}).get("stale") for member in members)
        if is_live and self.known(ACCOUNT, ACCOUNT)[1] <= seq:
            self.provider(True)
            self.db.execute("INSERT OR REPLACE INTO tracker_places VALUES (?, ?)", (ACCOUNT, seq))
        for key in gone - newer:
            if collection == "realms":
                self.realm(key, None, None)
            else:
                self.instance(key, None, None, ([], []), self.now(), None)
        self.db.execute("DELETE FROM tracker_known WHERE collection = ? AND seq <= ?", (collection, seq))
        self.db.execute("INSERT OR REPLACE INTO tracker_places VALUES (?, ?)", (collection, seq))

    # What is written

    def provider(self, available):
        self.db.execute("UPDATE providers SET available = ?", (available,))

    def realm(self, key, name, state):
        """`state` None: it is withdrawn, which has been looked at for ten minutes."""
        if state is None:
            self.db.execute("DELETE FROM provider_realms WHERE external_key = ?", (key,))
            return
        upsert = """INSERT INTO provider_realms (external_key, name, available) VALUES (?, ?, ?) ON CONFLICT (external_key)
            DO UPDATE SET name = coalesce(?, name), available = excluded.available"""
        self.db.execute(upsert, (key, name or key, state == "AVAILABLE", name))

    def instance(self, key, name, state, addresses, at, error):
        """`state` None: it is no more. That was looked at twice, so no failure is among the reasons."""
        row = self.db.execute("SELECT id, state FROM instances WHERE external_key = ?", (key,)).fetchone()
        is_over = state in (None, "FINISH")
        if is_over and row is None:
            return
        word = ended(self.driver, self.last_task(row[0])) if is_over else STATES.get(state, "pending")
        if row is None:
            insert = "INSERT INTO instances (external_key, name, state, checked_at) VALUES (?, ?, '', ?)"
            row = (self.db.execute(insert, (key, name or key, at)).lastrowid, "")
        public, private = map(joined, addresses)
        update = """UPDATE instances SET name = coalesce(?, name), state = ?, public_addresses = ?, private_addresses = ?,
            last_error = coalesce(?, last_error), checked_at = max(checked_at, ?) WHERE id = ?"""
        self.db.execute(update, (name, word, public, private, error, at, row[0]))
        if word != row[1] and word in ("pending", "running", "shutting_down", "stopped"):
            self.db.execute(f"UPDATE instances SET time_last_{word} = ? WHERE id = ?", (at, row[0]))

    def last_task(self, id):
        query = "SELECT action, state, created_at FROM tasks WHERE task_target_id = ? ORDER BY id DESC LIMIT 1"
        return self.db.execute(query, (id,)).fetchone()

    def task(self, key, action, state):
        """Notes what was asked of a machine, as Conductor's own code does, and answers with the task's id."""
        with self.lock, self.db:
            insert = "INSERT INTO tasks (task_target_id, action, state, created_at) SELECT id, ?, ?, ? FROM instances WHERE external_key = ?"
            return self.db.execute(insert, (action, state, self.now(), key)).lastrowid

    def place(self, name):
        row = self.db.execute("SELECT seq FROM tracker_places WHERE name = ?", (name,)).fetchone()
        return row and row[0]

    def unplace(self):
        """Wishes for lists, also after a restart."""
        self.db.execute("DELETE FROM tracker_places WHERE name = 'feed'")

    # What is asked

    def work(self, wait=0):
        """One turn: hooks, lists, the feed, chores. Says what was done. An answer that is none changes nothing; the next turn asks again."""
        said = []
        if not self.is_hooked:
            self.hook(said)  # needs the cloud; what is hooked already can be followed without it
        if self.place("feed") is None or self.now() - (self.place("listed") or 0) > LIST_AFTER:
            self.list_all(said)
        elif self.follows:
            pages = 1
            while self.follow(wait if pages == 1 else 0, said) and pages < PAGES:
                pages += 1
        self.chores(said)
        return said

    def hook(self, said):
        """Sets the hooks: on both collections, and on the account itself. Set anew, one that was disabled is called again. What was given up while nobody listened comes again."""
        for collection in (*COLLECTIONS, ""):
            terms = {"track_hook": self.url, "track_secret": self.secret} if self.calls else {"track_hook": "feed"}
            status, _, _ = self.ask("PUT", collection, {**terms, "subscriber": SUBSCRIBER})
            if status != 200:
                said.append(f"not hooked: {status}")
                return
        heard = self.place("heard")
        if not self.follows and heard is not None:
            status, _, hooks = self.ask("GET", f"hooks?subscriber={SUBSCRIBER}")
            if status != 200:
                return
            since = datetime.fromtimestamp(heard - HEARD_AGO, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            for hook in hooks:
                status, _, _ = self.ask("POST", f"hooks/{hook['id']}/recover", {"since": since})
                if status != 202:
                    return
        self.is_hooked = True

    def list_all(self, said):
        seqs = [self.list(collection, said) for collection in COLLECTIONS]
        if None not in seqs:
            with self.lock, self.db:
                places = [("feed", min(seqs)), ("listed", int(self.now()))]
                self.db.executemany("INSERT OR REPLACE INTO tracker_places VALUES (?, ?)", places)

    def list(self, collection, said):
        """Its number, or None: there is none to go on from, because the cloud cannot be asked or somebody is missing of whom it
        is not known yet whether he is gone."""
        status, headers, members = self.ask("GET", f"{collection}?subscriber={SUBSCRIBER}")
        if status != 200 or "Tracker-Seq" not in headers:
            return None
        seq = int(headers["Tracker-Seq"])
        with self.lock, self.db:
            self.merge(collection, members[collection], seq)
        said.append(f"listed {collection}")
        return seq

    def follow(self, wait, said):
        """Reads the next page. Asking after a place acknowledges what came before, so it is asked for when that is written down."""
        place = self.place("feed")
        status, headers, changes = self.ask("GET", f"changes?after={place}&limit={PAGE}&wait={wait}&subscriber={SUBSCRIBER}")
        if status == 200:
            with self.lock, self.db:
                said += [f"{self.hear(change)} in the feed" for change in changes]
                self.db.execute("INSERT OR REPLACE INTO tracker_places VALUES ('feed', ?)", (int(headers["Tracker-Seq"]),))
            return bool(changes)
        if status in (400, 410):  # what came next is no longer kept; or there is no such place: the log began anew
            said.append("lost the place")
            with self.lock, self.db:
                self.unplace()
                if status == 400:
                    self.db.execute("DELETE FROM tracker_known")
                    self.db.execute("DELETE FROM tracker_places")
            self.list_all(said)
        return False

    def chores(self, said):
        with self.lock:
            query = "SELECT id, external_key, state, time_last_running, time_last_shutting_down FROM instances WHERE external_key IS NOT NULL"
            rows = [(row, self.last_task(row[0])) for row in self.db.execute(query).fetchall()]
        for (_, key, state, running_at, stopping_at), task in rows:
            action = chore(self.driver, state, running_at, stopping_at, task, self.now())
            if action is None:
                continue
            id = self.task(key, action, "pending")
            status, _, _ = self.ask("POST", f"instances/{quote(key, '')}/{action}", {})
            said.append(f"{action} {key} {status}")
            with self.lock, self.db:
                outcome = "finished" if 200 <= status < 400 else "failed"
                self.db.execute("UPDATE tasks SET state = ? WHERE id = ?", (outcome, id))
                if outcome == "failed":
                    error = f"{action} was answered with {status}"
                    self.db.execute("UPDATE instances SET last_error = ? WHERE external_key = ?", (error, key))

    def ask(self, method, path, form=None):
        """Status, headers and body; status 0: there was no answer."""
        body = None if form is None else urlencode(form).encode()
        headers = {"accept": "application/json", "authorization": self.login}
        try:
            with urlopen(Request(f"{self.tracker}/{path}".rstrip("/"), body, headers, method=method), timeout=60) as answer:
                return answer.status, answer.headers, json.loads(answer.read() or b"null")
        except HTTPError as error:
            with error:
                return error.code, error.headers, None
        except (OSError, ValueError):
            return 0, {}, None


def listen(mirror, port):
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 1 << 20))
            status, word = mirror.callback(self.headers, body)
            print(word, flush=True)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    mirror.url = mirror.url or f"http://127.0.0.1:{server.server_port}/cb"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    mirror = Mirror(sys.argv[1], os.environ)
    print(f"listens on {listen(mirror, int(sys.argv[2])).server_port}", flush=True)
    while True:
        for line in mirror.work(wait=20):
            print(line, flush=True)
        mirror.wake.wait(5)
        mirror.wake.clear()
