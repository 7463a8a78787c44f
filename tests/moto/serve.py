"""A simulated AWS on a free port of the loopback, for as long as standard input stays open.

Prints one line, the port, once it answers. Its end is tied to its parent's: when the parent is gone, however it went,
the pipe closes and so does the server.

moto takes any credentials and any action at any time. Some things are added here, so that it refuses as AWS does:
signatures are verified, by botocore's reckoning and not ours; an instance in the wrong state is not acted upon; what is
in use, a volume, a device, a group, stays with whoever uses it; an image's name is given once. That images and instance
types must exist, it knows by itself but has to be told. And it lists as AWS does: in pages, and of an owner only what is his.

What goes wrong there is said to `/__faults__`: see `faults.py`. Every answer is dated with its caller's own clock, as tests
have clocks of their own.
"""

import hmac
import io
import json
import logging
import os
import re
import sys
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

# Read while moto is imported.
os.environ["MOTO_ENABLE_AMI_VALIDATION"] = "true"
os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, VolumeInUseError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.responses.security_groups import SecurityGroups
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

import faults

# AWS's own example of a key, which belongs to moto's own account.
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
# Any of these belongs to the account it names, so that tests can have one each, and ten keys of it.
KEY_ID_OF_ACCOUNT = re.compile("AKIA000[0-9]([0-9]{12})")
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
# The one image that such an account owns.
IMAGE = "ami-0123456789abcdef0"

AUTHORIZATION = re.compile(
    "AWS4-HMAC-SHA256 Credential=([^/ ,]+)/([0-9]{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?"
    "SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


# Code and message as STS has them; EC2 has the same words for all.
UNKNOWN_KEY = ("InvalidClientTokenId", "The security token included in the request is invalid.")
WRONG_SIGNATURE = (
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
)
NOT_SIGNED = ("MissingAuthenticationToken", "Request is missing Authentication Token")


class Refused(Exception):
    """One of these."""


class Gate:
    """Lets through what is signed well, to the account whose key signed it."""

    def __init__(self, moto):
        self.moto, self.aws = moto, faults.Faults(moto)
        self.first = threading.Lock()

    def __call__(self, environ, start_response):
        # moto's own, which AWS has not.
        if environ["PATH_INFO"].startswith("/moto-api"):
            return self.moto(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"] == "/__faults__":
            status, answer = faults.control(body, self.furnish)
            answer = json.dumps(answer).encode()
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
            start_response("200 OK" if status == 200 else "400 Bad Request", headers)
            return [answer]
        environ["wsgi.input"] = io.BytesIO(body)
        start_response = dated(environ, start_response)
        try:
            account, region, key_id = caller(environ, body)
        except Refused as refused:
            status, answer = refusal(environ, *refused.args)
            start_response(status, [("Content-Type", "text/xml;charset=UTF-8"), ("Content-Length", str(len(answer)))])
            return [answer]
        self.furnish(account, region)
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
        environ["tests.caller"] = (account, region, key_id)
        return self.aws(environ, start_response)

    def furnish(self, account, region):
        if account != DEFAULT_ACCOUNT_ID:
            with self.first:
                furnish(account, region)


def dated(environ, start_response):
    """With the time that the caller signed at, so that nobody's clock is wrong."""
    try:
        signed_at = datetime.strptime(header(environ, "x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return start_response

    def start(status, headers, *rest):
        headers = [(name, value) for name, value in headers if name.lower() != "date"]
        return start_response(status, headers + [("Date", format_datetime(signed_at, usegmt=True))], *rest)

    return start


def caller(environ, body):
    """Who signed it, and for which region."""
    signed = AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    if signed is None:
        raise Refused(*NOT_SIGNED)
    key_id, day, region, service, names, signature = signed.groups()
    of_account = KEY_ID_OF_ACCOUNT.fullmatch(key_id)
    if (key_id != KEY_ID and of_account is None) or key_id in faults.revoked:
        raise Refused(*UNKNOWN_KEY)

    headers = {name: header(environ, name) for name in names.split(";")}
    # Left out, they could be changed on the way.
    if not {"host", "x-amz-date"} <= headers.keys() or not headers["x-amz-date"].startswith(day):
        raise Refused(*WRONG_SIGNATURE)
    url = f"http://{headers['host']}{environ['PATH_INFO']}"
    if environ.get("QUERY_STRING"):
        url += "?" + environ["QUERY_STRING"]
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, headers=headers, data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(key_id, SECRET), service, region)
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(signature, expected):
        raise Refused(*WRONG_SIGNATURE)
    return (of_account.group(1) if of_account else DEFAULT_ACCOUNT_ID), region, key_id


def header(environ, name):
    key = name.upper().replace("-", "_")
    return environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key, "")


def refusal(environ, code, message):
    if "/ec2/aws4_request" in environ.get("HTTP_AUTHORIZATION", ""):
        answer = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>AuthFailure</Code><Message>'
            "AWS was not able to validate the provided access credentials</Message></Error></Errors>"
            "<RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>"
        )
        return "401 Unauthorized", answer.encode()
    answer = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n    <Type>Sender</Type>\n'
        f"    <Code>{code}</Code>\n    <Message>{escape(message)}</Message>\n  </Error>\n"
        "  <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>\n</ErrorResponse>\n"
    )
    return "403 Forbidden", answer.encode()


def furnish(account, region):
    backend = ec2_backends[account][region]
    if IMAGE not in backend.amis:
        own = {"name": "own", "architecture": "x86_64", "root_device_type": "ebs", "region_name": region + "a"}
        backend.amis[IMAGE] = Ami(backend, IMAGE, **own)


def refuse(what, states, code, message, ignored=()):
    """As EC2: all of the instances or none, save for those that are ignored."""
    act = getattr(EC2Backend, what)

    def checked(self, instance_ids):
        ids = []
        for instance in self.get_multi_instances_by_id(instance_ids):
            state = instance._state.name
            if state in states:
                raise EC2ClientError(code, message.format(id=instance.id, state=state))
            if state not in ignored:
                ids.append(instance.id)
        return act(self, ids)

    setattr(EC2Backend, what, checked)


# Starting what runs, stopping what is stopped and ending what is ended succeed and do nothing. This does not succeed:
ENDED = ("shutting-down", "terminated")
CANNOT_START = "The instance '{id}' is not in a state from which it can be started."
CANNOT_STOP = "This instance '{id}' is not in a state from which it can be stopped."
CANNOT_REBOOT = "Cannot reboot instance {id} that is currently in {state} state."
refuse("start_instances", {"stopping", *ENDED}, "IncorrectInstanceState", CANNOT_START)
refuse("stop_instances", {"pending", *ENDED}, "IncorrectInstanceState", CANNOT_STOP)
refuse("reboot_instances", {"pending", "stopping", "stopped"}, "IncorrectState", CANNOT_REBOOT, ENDED)


def before(what):
    """Puts a check in front of what a backend does."""

    def put(check):
        act = getattr(EC2Backend, what)

        def checked(self, *args, **kwargs):
            check(self, *args, **kwargs)
            return act(self, *args, **kwargs)

        setattr(EC2Backend, what, checked)

    return put


@before("attach_volume")
def volume_and_device_are_free(self, volume_id, instance_id, device_path, delete_on_termination=False):
    # At launch, moto comes here for the instance's own disks.
    if delete_on_termination:
        return
    volume, instance = self.get_volume(volume_id), self.get_instance(instance_id)
    if volume.attachment:
        raise VolumeInUseError(volume_id, volume.attachment.instance.id)
    if instance._state.name in ENDED:
        raise EC2ClientError("IncorrectState", f"Instance '{instance_id}' is not 'running'.")
    if device_path in instance.block_device_mapping:
        message = f"Invalid value '{device_path}' for unixDevice. Attachment point {device_path} is already in use"
        raise EC2ClientError("InvalidParameterValue", message)


@before("detach_volume")
def volume_is_attached(self, volume_id, instance_id, device_path):
    if not self.get_volume(volume_id).attachment:
        raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")


@before("delete_security_group")
def group_is_free(self, name=None, group_id=None):
    group = self.get_security_group_by_name_or_id(group_id or name)
    if group is None:
        return
    if group.name == "default":
        message = f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
        raise EC2ClientError("CannotDelete", message)
    alive = (one for one in self.all_instances() if one._state.name not in ENDED)
    if any(group.id == used.id for one in alive for used in one.security_groups):
        raise EC2ClientError("DependencyViolation", f"resource {group.id} has a dependent object")


@before("create_image")
def image_name_is_new(self, instance_id, name, description, tag_specifications):
    for ami in self.amis.values():
        if ami.owner_id == self.account_id and ami.name == name:
            message = f"AMI name {name} is already in use by AMI {ami.id}"
            raise EC2ClientError("InvalidAMIName.Duplicate", message)


def in_pages(responses, what, members):
    """As EC2: a page of MaxResults, and a token that leads on. `members` names the list in the answer."""
    act = getattr(responses, what)

    def paged(self):
        every = act(self).result[members]
        size = int(self._get_param("MaxResults", None) or 1000)
        if not 5 <= size <= 1000:
            raise EC2ClientError("InvalidParameterValue", f"Value ( {size} ) for parameter maxResults is invalid.")
        start = int(self._get_param("NextToken", None) or 0)
        page = {members: list(every)[start : start + size]}
        if start + size < len(every):
            page["NextToken"] = str(start + size)
        return ActionResult(page)

    setattr(responses, what, paged)


def of_owner(self):
    """moto has all accounts' snapshots of the region's images in every account."""
    listed = snapshots_of_all(self).result["Snapshots"]
    owners = [self.current_account if one == "self" else one for one in self._get_param("OwnerIds", [])]
    return ActionResult({"Snapshots": [one for one in listed if not owners or one.owner_id in owners]})


snapshots_of_all = ElasticBlockStore.describe_snapshots
ElasticBlockStore.describe_snapshots = of_owner
in_pages(ElasticBlockStore, "describe_volumes", "Volumes")
in_pages(ElasticBlockStore, "describe_snapshots", "Snapshots")
in_pages(AmisResponse, "describe_images", "Images")
in_pages(SecurityGroups, "describe_security_groups", "SecurityGroups")
in_pages(SecurityGroups, "describe_security_group_rules", "SecurityGroupRules")
in_pages(InstanceResponse, "describe_instance_status", "InstanceStatuses")

logging.getLogger("werkzeug").setLevel(logging.ERROR)

server = make_server("127.0.0.1", 0, Gate(DomainDispatcherApplication(create_backend_app)), threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.buffer.read()
# Not sys.exit: a request that hangs must not keep it alive.
os._exit(0)
