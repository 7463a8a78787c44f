"""What a user of boto3 does in EC2, so that Tracker sees changes that it did not make itself.

    instance.py ENDPOINT REGION run [COUNT]          prints the new ids, one a line, each of its own reservation
    instance.py ENDPOINT REGION stop|start|terminate ID...
    instance.py ENDPOINT REGION image ID NAME        makes an image of an instance, prints its id
    instance.py ENDPOINT REGION name ID NAME         sets the Name tag
    instance.py ENDPOINT REGION list                 prints "ID STATE", one a line, in the order of the ids
    instance.py ENDPOINT REGION call METHOD JSON     calls boto3's method with these arguments, prints the answer as JSON

`as KEY_ID` in front of any of these: with this key instead of the usual one.
"""

import json
import sys

import boto3


def run(ec2, count="1"):
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]["ImageId"]
    for _ in range(int(count)):
        launched = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)
        print(launched["Instances"][0]["InstanceId"])


def stop(ec2, *ids):
    ec2.stop_instances(InstanceIds=list(ids))


def start(ec2, *ids):
    ec2.start_instances(InstanceIds=list(ids))


def terminate(ec2, *ids):
    ec2.terminate_instances(InstanceIds=list(ids))


def image(ec2, instance, name):
    print(ec2.create_image(InstanceId=instance, Name=name)["ImageId"])


def name(ec2, instance, name):
    ec2.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": name}])


def list_all(ec2):
    pages = ec2.get_paginator("describe_instances").paginate()
    found = [i for page in pages for reservation in page["Reservations"] for i in reservation["Instances"]]
    for one in sorted(found, key=lambda one: one["InstanceId"]):
        print(one["InstanceId"], one["State"]["Name"])


def call(ec2, method, arguments):
    answer = getattr(ec2, method)(**json.loads(arguments))
    answer.pop("ResponseMetadata", None)
    print(json.dumps(answer, default=str))


DOES = {
    "run": run,
    "stop": stop,
    "start": start,
    "terminate": terminate,
    "image": image,
    "name": name,
    "list": list_all,
    "call": call,
}

if __name__ == "__main__":
    endpoint, region, *words = sys.argv[1:]
    key_id = "AKIAIOSFODNN7EXAMPLE"
    if words[0] == "as":
        key_id, words = words[1], words[2:]
    what, *rest = words
    client = boto3.client(
        "ec2",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key_id,
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    DOES[what](client, *rest)
