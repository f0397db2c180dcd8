# SPDX-License-Identifier: Apache-2.0
"""What a request asks for, and the form of errors in the three protocols of AWS."""
import json
import re
import urllib.parse
import xml.etree.ElementTree as xml
from xml.sax.saxutils import escape

EC2_VERSION, STS_VERSION = "2016-11-15", "2011-06-15"
JSON = "application/x-amz-json-1.1"
XML = "text/xml;charset=UTF-8"


class Call:
    """service, action, params (of a form) and access key of a request."""

    def __init__(self, request):
        self.request = request
        authorization = request.headers.get("authorization", "")
        found = re.search(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request", authorization)
        self.key, self.region, self.service = found.groups() if found else (None, None, None)
        self.params, self.action = {}, None
        target = request.headers.get("x-amz-target", "")
        if target:
            self.action = target.rpartition(".")[2]
            self.service = self.service or "kms"
        elif request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            pairs = urllib.parse.parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True)
            self.params = dict(pairs)
            self.action = self.params.get("Action")
            version = self.params.get("Version")
            self.service = self.service or {EC2_VERSION: "ec2", STS_VERSION: "sts"}.get(version, "iam")

    def values(self, prefix):
        """The values of a flattened list."""
        return [v for k, v in sorted(self.params.items()) if re.fullmatch(re.escape(prefix) + r"\.\d+", k)]

    def tags(self):
        """Of all resources that the call makes: {key: value}."""
        found = {}
        for name, key in self.params.items():
            match = re.fullmatch(r"(TagSpecification\.\d+\.Tag\.\d+)\.Key", name)
            if match:
                found[key] = self.params.get(match.group(1) + ".Value", "")
        return found


def error(service, status, code, message):
    """(body, content type) of an error as the service writes it."""
    if service == "kms":
        return json.dumps({"__type": code, "message": message}).encode(), JSON
    code, message = escape(code), escape(message)
    if service in ("iam", "sts"):
        who = "Sender" if status < 500 else "Receiver"
        name = "2011-06-15" if service == "sts" else "2010-05-08"
        text = (f'<ErrorResponse xmlns="https://{service}.amazonaws.com/doc/{name}/"><Error><Type>{who}</Type>'
                f"<Code>{code}</Code><Message>{message}</Message></Error>"
                f"<RequestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</RequestId></ErrorResponse>")
    else:
        text = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code><Message>'
                f"{message}</Message></Error></Errors><RequestID>59dbff89-35bd-4eac-99ed-be587EXAMPLE</RequestID>"
                f"</Response>")
    return text.encode(), XML


KMS_NAMES = {"SignatureDoesNotMatch": "InvalidSignatureException",
             "InvalidClientTokenId": "UnrecognizedClientException"}


def mended(service, status, body, kind):
    """(status, body, content type): errors of authentication, which moto writes in one form for all."""
    if status < 400 or (b"<ErrorResponse><Errors>" not in body and (service == "ec2" or b"<Errors>" not in body)):
        return status, body, kind
    code = re.search(rb"<Code>([^<]*)</Code>", body)
    message = re.search(rb"<Message>([^<]*)</Message>", body)
    code = code.group(1).decode() if code else "InternalFailure"
    if service == "kms":
        status, code = 400, KMS_NAMES.get(code, code)
    return status, *error(service, status, code, message.group(1).decode() if message else "")


def parse(body):
    try:
        return xml.fromstring(body)
    except xml.ParseError:
        return None


def local(element):
    return element.tag.rpartition("}")[2]


def find_all(root, name):
    return [e for e in root.iter() if local(e) == name]


def child(element, name):
    return next((e for e in element if local(e) == name), None)


def text(element, name):
    found = child(element, name)
    return found.text if found is not None else None


def render(root):
    space = root.tag.partition("}")[0][1:] if root.tag.startswith("{") else ""
    if space:
        xml.register_namespace("", space)
    return xml.tostring(root, encoding="utf-8", xml_declaration=True)
