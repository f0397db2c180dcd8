# SPDX-License-Identifier: Apache-2.0
"""Errors, clock, ids and the small checks that all kinds of resources use."""
import random
import re
import time
import uuid

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)
LABEL_KEY = re.compile(r"[\x20-\x7e]{2,32}")
YES_NO = ("yes", "no")


class Problem(Exception):
    """What the API answers instead; in which of the two formats is up to the path."""

    def __init__(self, status, code, message, params=None):
        super().__init__(message)
        self.status, self.code, self.message, self.params = status, code, message, params or []


def invalid(code, message):
    return Problem(400, code, message)


class Clock:
    """Seconds since 1970, which may run faster than the real ones."""

    def __init__(self):
        self.speed = 1.0
        self.base, self.since = time.time(), time.monotonic()

    def now(self):
        return self.base + (time.monotonic() - self.since) * self.speed

    def set_speed(self, speed):
        self.base, self.since = self.now(), time.monotonic()
        self.speed = float(speed)


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Ids:
    def __init__(self, seed):
        self.dice = random.Random(f"ids {seed}")

    def uuid(self, prefix):
        """The first digits tell the kind: 00 server, 01 storage, 03 network, 04 router, 0c token."""
        text = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
        return prefix + text[len(prefix):]

    def mac(self):
        return "da:45:c4" + "".join(f":{self.dice.randrange(256):02x}" for _ in range(3))

    def secret(self, length):
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return "".join(self.dice.choice(letters) for _ in range(length))


def known(body, allowed, where):
    """Refuses what the API would call an unknown attribute."""
    if not isinstance(body, dict):
        raise invalid("REQUEST_INVALID", f"The request body is not valid: {where} must be an object.")
    for name in body:
        if name not in allowed:
            raise invalid("UNKNOWN_ATTRIBUTE", f"The request contains an unknown attribute {name}.")


def wrapped(body, name):
    """The object behind the one name that a body has."""
    if not isinstance(body, dict) or not isinstance(body.get(name), dict):
        raise invalid("REQUEST_INVALID", f"The request body is not valid: the {name} object is missing.")
    known(body, (name,), "the body")
    return body[name]


def yes_no(body, name, default, code):
    value = body.get(name, default)
    if value not in YES_NO:
        raise invalid(code, f"The attribute {name} has an invalid value.")
    return value


def number(value, code, low, high, what):
    """Numbers come as such and as strings."""
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)) or not low <= int(value) <= high:
        raise invalid(code, f"The attribute {what} has an invalid value.")
    return int(value)


def checked_labels(labels):
    if not isinstance(labels, list):
        raise invalid("REQUEST_INVALID", "The request body is not valid: labels must be a list.")
    seen = set()
    for label in labels:
        known(label, ("key", "value"), "a label")
        key, value = label.get("key"), label.get("value", "")
        if not isinstance(key, str) or not LABEL_KEY.fullmatch(key) or key.startswith("_"):
            raise invalid("INVALID_LABEL_KEY", f"The label key {key!r} is invalid: 2 to 32 characters.")
        if not isinstance(value, str) or len(value) > 255:
            raise invalid("INVALID_LABEL_VALUE", f"The value of label {key} is invalid: at most 255 characters.")
        if key in seen:
            raise invalid("DUPLICATE_LABEL_KEYS", f"The label key {key} is given more than once.")
        seen.add(key)
    return [{"key": label["key"], "value": label.get("value", "")} for label in labels]


def has_labels(labels, query):
    """All `label` words of a query: KEY (any value) or KEY=VALUE."""
    for name, wanted in query:
        if name == "label":
            key, equals, value = wanted.partition("=")
            if not any(l["key"] == key and (not equals or l["value"] == value) for l in labels):
                return False
    return True


def checked_uuid(text, code, what):
    if not UUID.fullmatch(text):
        raise invalid(code, f"The {what} UUID is invalid.")
    return text.lower()


def page(rows, query):
    """limit and offset of a list."""
    words = dict(query)
    first = int(words.get("offset", 0))
    return rows[first:first + int(words["limit"])] if "limit" in words else rows[first:]
