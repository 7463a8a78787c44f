"""What goes wrong at a cloud, at a test's word: stands between the gate of `serve.py` and moto, and behind it.

A test says what by `POST /__faults__` with a JSON object whose `do` names one of the functions of `DOES`; the answer is JSON,
with status 400 and the reason when it makes no sense. What is said is about one account, which each test has for itself.

    rule      a call that matches fails, is late, hangs, or is answered in part
    zone      what a zone says of itself, whether it is listed, whether it is disrupted
    force     the state of instances, with the reason; `checks`: what EC2's status checks say of them
    hide      instances, for good or for so many calls that describe; `show` ends it
    launches  what becomes of the instances launched next, whoever launches them
    launch    makes instances, each of its own reservation, and names them
    revoke    a key is no longer known; `restore` ends it
    calls     every call of the account so far, in order
    heal      everything is well again; instances stay as they are

While a zone is disrupted, whatever describes instances of the region fails, as at EC2: save for calls that name ids, none of
which is in that zone. Nothing here waits by the clock but `delay_ms`, and nothing waits for ever.
"""

import contextlib
import copy
import hashlib
import io
import json
import math
import threading
import time
from collections import deque
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import Instance, InstanceState, StateReason

# Seconds that a call is held at most, if nobody releases it.
HELD_MAX = 60
DELAY_MS_MAX = 5000
# Newest calls kept of an account.
CALLS_KEPT = 100_000

DESCRIBES = ("DescribeInstances", "DescribeInstanceStatus")
STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
# That of EC2 whose message says least.
INTERNAL = {"status": 500, "code": "InternalError", "message": "An internal error has occurred"}

# Of this thread's request: the ids that it is not to see.
seen_by = threading.local()
lock = threading.RLock()


class Account:
    """What is wrong with one."""

    def __init__(self):
        self.rules = []
        # By (region, name): a dictionary of what was said.
        self.zones = {}
        # By id: how many more calls it is hidden from; None: for good.
        self.hidden = {}
        # By id: what the checks say.
        self.checks = {}
        self.launches = []
        self.calls = deque(maxlen=CALLS_KEPT)


accounts = {}
revoked = set()
rules = {}


def account_of(number):
    """Without our lock: moto asks with its own in hand, while others with ours ask moto."""
    return accounts.setdefault(number, Account())


class Call:
    """A request, as far as rules ask about it."""

    def __init__(self, account, region, key, form):
        self.account, self.region, self.key = account, region, key
        self.action = form.get("Action", "")
        self.later_page = "NextToken" in form
        self.ids = {value for name, value in form.items() if name.startswith(("InstanceId.", "InstanceId"))}
        filters = (name.split(".")[1] for name, value in form.items() if name.endswith(".Name") and value == "instance-id")
        for at in filters:
            self.ids |= {value for name, value in form.items() if name.startswith(f"Filter.{at}.Value.")}
        self.placed = {form[name] for name in ("Placement.AvailabilityZone", "AvailabilityZone") if name in form}

    def zones(self):
        """Those that it is about; none for one about the whole region."""
        return self.placed | {one.placement.zone for one in instances(self.account, self.region) if one.id in self.ids}


class Rule:
    EFFECTS = ("error", "delay_ms", "hold", "cut", "body")

    def __init__(self, said):
        self.account = said["account"]
        self.actions = said.get("actions")
        self.region, self.zone, self.key = said.get("region"), said.get("zone"), said.get("key")
        self.later_pages = said.get("later_pages", False)
        self.share, self.seed = said.get("share", 1.0), said.get("seed")
        self.times = said.get("times")
        self.effects = {name: said[name] for name in self.EFFECTS if said.get(name)}
        if not self.effects:
            raise ValueError(f"a rule does one of {', '.join(self.EFFECTS)}")
        self.released = threading.Event()
        self.met = self.struck = self.held = 0

    def strikes(self, call):
        """Whether it is this call's turn to suffer."""
        fits = (
            (self.actions is None or call.action in self.actions)
            and self.region in (None, call.region)
            and self.key in (None, call.key)
            and (call.later_page or not self.later_pages)
            and (self.zone is None or self.zone in call.zones())
        )
        if not fits or self.times == self.struck:
            return False
        turn, self.met = self.met, self.met + 1
        if not self.has_turn(turn):
            return False
        self.struck += 1
        return True

    def has_turn(self, turn):
        if self.seed is None:
            # Evenly: of a half every other one.
            return math.floor((turn + 1) * self.share) > math.floor(turn * self.share)
        drawn = hashlib.sha256(f"{self.seed}:{turn}".encode()).digest()[:8]
        return int.from_bytes(drawn, "big") / 2**64 < self.share


class Faults:
    """The application between the gate, which says who is asking, and moto."""

    def __init__(self, aws):
        self.aws = aws

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(body)
        who = environ["tests.caller"]
        call = Call(*who, dict(parse_qsl(body.decode())))
        account = account_of(call.account)
        with lock:
            rule = next((rule for rule in account.rules if rule.strikes(call)), None)
            error = None if rule else disruption(account, call)
            noted = {"action": call.action, "region": call.region, "key": call.key, "ids": sorted(call.ids)}
            account.calls.append(noted | {"failed": bool(rule or error)})
            seen_by.hidden = hidden_from(account, call)
        effects = rule.effects if rule else {}
        self.wait(rule, effects)
        error = effects.get("error", error)
        try:
            if error:
                return answer(start_response, error["status"], failure(error), error.get("retry_after"))
            if "body" in effects:
                return answer(start_response, 200, effects["body"].encode())
            if "cut" in effects:
                return self.half(environ, start_response)
            return self.aws(environ, start_response)
        finally:
            seen_by.hidden = frozenset()

    def wait(self, rule, effects):
        if "delay_ms" in effects:
            time.sleep(min(effects["delay_ms"], DELAY_MS_MAX) / 1000)
        if "hold" in effects:
            with lock:
                rule.held += 1
            rule.released.wait(HELD_MAX)
            with lock:
                rule.held -= 1

    def half(self, environ, start_response):
        """Of the real answer, which says that it is whole."""
        said = []
        whole = b"".join(self.aws(environ, lambda status, headers, *_: said.append((status, headers))))
        status, headers = said[0]
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, headers + [("Content-Length", str(len(whole))), ("Connection", "close")])
        return [whole[: len(whole) // 2]]


def answer(start_response, status, body, retry_after=None):
    headers = [("Content-Type", "text/xml;charset=UTF-8"), ("Content-Length", str(len(body)))]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    start_response(f"{status} As Told", headers)
    return [body]


def failure(error):
    code, message = escape(error["code"]), escape(error.get("message", "as told"))
    text = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}<RequestID>as-told</RequestID></Response>'.encode()


def disruption(account, call):
    """Of a call that describes instances: the error, if any that it is about may be in a zone that is disrupted."""
    if call.action not in DESCRIBES:
        return None
    down = {name for (region, name), said in account.zones.items() if region == call.region and said.get("disrupted")}
    return INTERNAL if down and (not call.ids or down & call.zones()) else None


def hidden_from(account, call):
    """The ids that this call is not to see. One that describes counts, once and not for each page."""
    hidden = frozenset(account.hidden)
    if call.action in DESCRIBES and not call.later_page:
        for id in hidden:
            left = account.hidden[id]
            if left is not None and (not call.ids or id in call.ids):
                account.hidden[id] = left - 1
                if left <= 1:
                    del account.hidden[id]
    return hidden


def backend(account, region):
    return ec2_backends[account][region]


def instances(account, region, ids=None):
    """Whether or not they are hidden."""
    every = [one for group in list(backend(account, region).reservations.values()) for one in group.instances]
    found = [one for one in every if ids is None or one.id in ids]
    if ids is not None and len(found) != len(set(ids)):
        raise ValueError(f"no instance {', '.join(set(ids) - {one.id for one in found})} in {account}, {region}")
    return found


def put(one, state, code=None, message=None):
    one._state = InstanceState(state, STATES[state])
    # As EC2 says it of what was not asked why.
    code = code or {"pending": "pending", "running": ""}.get(state, "Client.UserInitiatedShutdown")
    one.state_reason = StateReason(message or code, code)


# What moto knows and is asked in all its ways, seen through what is hidden.


all_reservations = EC2Backend.all_reservations


def shown_reservations(self, filters=None):
    hidden = getattr(seen_by, "hidden", frozenset())
    shown = all_reservations(self, filters)
    if not hidden:
        return shown
    for group in shown:
        group.instances = [one for one in group.instances if one.id not in hidden]
    return [group for group in shown if group.instances]


EC2Backend.all_reservations = shown_reservations


describe_availability_zones = EC2Backend.describe_availability_zones


def told_zones(self, filters=None, zone_names=None, zone_ids=None):
    said_of = account_of(self.account_id).zones
    zones = []
    for zone in describe_availability_zones(self, filters, zone_names, zone_ids):
        said = said_of.get((self.region_name, zone.name), {})
        if said.get("listed", True):
            zone = copy.copy(zone)
            zone.state = said.get("state", zone.state)
            zone.messages = [{"Message": text} for text in said.get("messages", [])]
            zones.append(zone)
    return zones


EC2Backend.describe_availability_zones = told_zones


def checked(which):
    well = getattr(Instance, which).fget

    def check(self):
        said = account_of(self.owner_id).checks.get(self.id, {}).get(which)
        return {"Status": said} if said else well(self)

    setattr(Instance, which, property(check))


checked("system_status")
checked("instance_status")


run_instances = EC2Backend.run_instances


def run_as_told(self, *args, **kwargs):
    group = run_instances(self, *args, **kwargs)
    account = account_of(self.account_id)
    with lock:
        for one in group.instances:
            here = (told for told in account.launches if told["region"] == self.region_name)
            told = next((told for told in here if told.get("zone") in (None, one.placement.zone)), None)
            if told is None:
                continue
            if told.get("state"):
                put(one, told["state"], told.get("code"))
            if told.get("hidden"):
                account.hidden[one.id] = told.get("hidden_calls")
            if told.get("times") is not None:
                told["times"] -= 1
                if told["times"] <= 0:
                    account.launches.remove(told)
    return group


EC2Backend.run_instances = run_as_told


# What a test may ask for.


def rule(said):
    made = Rule(said)
    rules[len(rules)] = made
    account_of(made.account).rules.append(made)
    return {"rule": len(rules) - 1}


def about_rule(said):
    about = rules[said["rule"]]
    return {"struck": about.struck, "held": about.held}


def lift(said):
    """What it holds goes on."""
    lifted = rules[said["rule"]]
    lifted.released.set()
    if lifted in account_of(lifted.account).rules:
        account_of(lifted.account).rules.remove(lifted)
    return {}


def zone(said):
    known = [one.name for one in describe_availability_zones(backend(said["account"], said["region"]))]
    if said["zone"] not in known:
        raise ValueError(f"{said['region']} has {', '.join(known)}, and no {said['zone']}")
    words = {name: said[name] for name in ("state", "messages", "disrupted", "listed") if said.get(name) is not None}
    account_of(said["account"]).zones.setdefault((said["region"], said["zone"]), {}).update(words)
    return {}


def force(said):
    for one in instances(said["account"], said["region"], said["ids"]):
        put(one, said["state"], said.get("code"), said.get("message"))
    return {}


def checks(said):
    words = {"system_status": said.get("system"), "instance_status": said.get("instance")}
    for one in instances(said["account"], said["region"], said["ids"]):
        account_of(said["account"]).checks[one.id] = words
    return {}


def hide(said):
    for one in instances(said["account"], said["region"], said["ids"]):
        account_of(said["account"]).hidden[one.id] = said.get("calls")
    return {}


def show(said):
    for id in said["ids"]:
        account_of(said["account"]).hidden.pop(id, None)
    return {}


def launches(said):
    account_of(said["account"]).launches.append(said)
    return {}


def launch(said):
    more = {"instance_type": "t3.micro", "is_instance_type_default": False, "placement": said["zone"]}
    ids = []
    for _ in range(said["count"]):
        made = backend(said["account"], said["region"]).run_instances(
            said["image"], 1, None, [], region_name=said["region"], **more
        )
        ids.append(made.instances[0].id)
    return {"ids": ids}


def calls(said):
    return {"calls": list(account_of(said["account"]).calls)}


def revoke(said):
    revoked.add(said["key"])
    return {}


def restore(said):
    revoked.discard(said["key"])
    return {}


def heal(said):
    account = account_of(said["account"])
    for one in account.rules:
        one.released.set()
    account.rules.clear()
    account.launches.clear()
    for one in (account.zones, account.hidden, account.checks):
        one.clear()
    return {}


DOES = {
    one.__name__: one
    for one in (rule, about_rule, lift, zone, force, checks, hide, show, launches, launch, calls, revoke, restore, heal)
}


def control(body, furnish):
    """The status and the answer. `furnish` puts into an account what each has."""
    try:
        said = json.loads(body)
        # Not under our lock: whoever furnishes has one of his own, and asks moto, which asks us.
        if "region" in said:
            furnish(said["account"], said["region"])
        # Launching takes seconds, and what it tells us it tells under the lock by itself.
        with contextlib.nullcontext() if said["do"] == "launch" else lock:
            return 200, DOES[said["do"]](said)
    except (AttributeError, KeyError, TypeError, ValueError) as wrong:
        return 400, {"wrong": f"{type(wrong).__name__}: {wrong}"}
