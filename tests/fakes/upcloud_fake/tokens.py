# SPDX-License-Identifier: Apache-2.0
"""API tokens of the account."""
import calendar
import re
import time

from .base import Problem, iso

LONGEST = 365 * 24 * 3600   # seconds
CREATE = ("name", "expires_at", "can_create_tokens", "allowed_ip_ranges", "gui")


def refused(name, reason):
    return Problem(400, "INVALID_REQUEST", "Validation error.", [{"name": name, "reason": reason}])


def parse_time(text):
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text):
        raise refused("expires_at", "must be a time as in RFC 3339")
    seconds = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    if not text.endswith("Z"):
        sign = 1 if text[-6] == "+" else -1
        seconds -= sign * (int(text[-5:-3]) * 3600 + int(text[-2:]) * 60)
    return seconds


class Tokens:
    """Part of the Cloud of ../upcloud.py."""

    def add_token(self, name, token, expires, can_create, ranges, gui=False):
        made = {"id": self.ids.uuid("0c"), "name": name, "token": token, "created": self.clock.now(),
                "expires": expires, "used": None, "can_create_tokens": can_create, "allowed_ip_ranges": ranges,
                "gui": gui}
        self.tokens[made["id"]] = made
        return made

    def add_first_token(self, token):
        self.add_token("first", token, self.clock.now() + LONGEST, True, ["0.0.0.0/0", "::/0"])

    def use_token(self, value):
        now = self.clock.now()
        for token in self.tokens.values():
            if token["token"] == value and now < token["expires"] and token["allowed_ip_ranges"]:
                token["used"] = now
                return token
        return None

    @staticmethod
    def token_shown(t):
        shown = {"allowed_ip_ranges": t["allowed_ip_ranges"], "can_create_tokens": t["can_create_tokens"],
                 "created_at": iso(t["created"])[:-1] + ".534408Z",
                 # not the bytes that were sent: so does the real one
                 "expires_at": iso(t["expires"])[:-1] + ".00001Z", "gui": t["gui"], "id": t["id"],
                 "name": t["name"], "type": "workspace"}
        if t["used"]:
            shown["last_used_at"] = iso(t["used"])[:-1] + ".50002Z"
        return shown

    def token(self, id_):
        if id_ not in self.tokens:
            raise Problem(404, "RESOURCE_NOT_FOUND", "Token not found.")
        return self.tokens[id_]

    def list_tokens(self, q):
        words = dict(q.query)
        rows = [self.token_shown(t) for t in sorted(self.tokens.values(), key=lambda t: t["created"])]
        q.note["headers"] = [("Upcloud-Total-Count", str(len(rows)))]
        first = int(words.get("offset", 0))
        return 200, rows[first:first + int(words.get("limit", 100))]

    def create_token(self, q):
        if q.token and not q.token["can_create_tokens"]:
            raise Problem(403, "FORBIDDEN", "The token is not allowed to create tokens.")
        for name in q.json:
            if name not in CREATE:
                raise refused(name, "unknown attribute")
        name = q.json.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= 1024:
            raise refused("name", "must have 1 to 1024 characters")
        expires = parse_time(q.json.get("expires_at"))
        if not self.clock.now() < expires <= self.clock.now() + LONGEST:
            raise refused("expires_at", "must be in the future, and at most 8760 hours ahead")
        ranges = q.json.get("allowed_ip_ranges")
        token = self.add_token(name, "ucat_" + self.ids.secret(26), expires,
                               bool(q.json.get("can_create_tokens", False)),
                               ["0.0.0.0/0", "::/0"] if ranges is None else ranges, bool(q.json.get("gui", False)))
        self.effect("create", "token", token["id"], name)
        return 201, {**self.token_shown(token), "token": token["token"]}

    def show_token(self, q, id_):
        return 200, self.token_shown(self.token(id_))

    def delete_token(self, q, id_):
        token = self.token(id_)
        del self.tokens[id_]
        self.effect("delete", "token", id_, token["name"])
        return 204, None
