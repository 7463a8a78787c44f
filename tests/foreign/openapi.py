"""Judges an OpenAPI document as a public validator would, and answers by its schemas.

Reads one JSON object from standard input:

    {"document": {...}, "answers": [{"schema": "/components/schemas/Change", "value": ...}, ...]}

where `schema` is a JSON pointer into the document. Exit status 0: all is well. 1: it is not, with the reasons on standard
error.
"""

import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

given = json.load(sys.stdin)
document = given["document"]
wrong = [f"the document: {error.json_path}: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
for number, answer in enumerate(given["answers"]):
    # The whole document stands around the schema, so that what it refers to is found.
    schema = {**document, "$ref": "#" + answer["schema"]}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    wrong += [f"answer {number}, {answer['schema']}, {error.json_path}: {error.message}" for error in validator.iter_errors(answer["value"])]
for line in wrong:
    print(line, file=sys.stderr)
sys.exit(1 if wrong else 0)
