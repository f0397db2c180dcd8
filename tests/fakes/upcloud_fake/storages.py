# SPDX-License-Identifier: Apache-2.0
"""Storages."""
from . import catalog
from .base import (Problem, checked_labels, checked_uuid, has_labels, invalid, iso, known, number, page, wrapped,
                   yes_no)

TIERS = ("maxiops", "standard", "hdd", "archive")
SCOPES = ("private", "public", "normal", "backup", "cdrom", "template", "favorite")


class Storages:
    """Part of the Cloud of ../upcloud.py, which has clock, ids, settings and effect()."""

    def storage(self, id_):
        id_ = checked_uuid(id_, "STORAGE_INVALID", "storage")
        if id_ not in self.storages:
            raise Problem(404, "STORAGE_NOT_FOUND", f"The storage {id_} does not exist.")
        return self.storages[id_]

    def storage_state(self, storage):
        return "maintenance" if self.clock.now() < storage["ready"] else "online"

    def add_storage(self, title, size, tier, zone, busy, labels=(), encrypted="no", backup_rule=None, kind="normal",
                    origin=None):
        used = sum(s["size"] for s in self.storages.values() if s["tier"] == tier)
        if used + size > self.limits.get(f"storage_{'ssd' if tier == 'standard' else tier}", 1 << 40):
            code = "MAXIOPS_STORAGE_LIMIT_REACHED" if tier == "maxiops" else "STORAGE_RESOURCES_UNAVAILABLE"
            raise Problem(403, code, f"The account's limit of {tier} storage is reached.")
        storage = {"uuid": self.ids.uuid("01"), "title": title, "size": size, "tier": tier, "zone": zone,
                   "created": self.clock.now(), "ready": self.clock.now() + (self.state_s if busy else 0),
                   "labels": list(labels), "encrypted": encrypted, "backup_rule": backup_rule or {},
                   "type": kind, "origin": origin}
        self.storages[storage["uuid"]] = storage
        self.effect("create", "storage", storage["uuid"], title)
        return storage

    def remove_storage(self, storage):
        del self.storages[storage["uuid"]]
        self.effect("delete", "storage", storage["uuid"], storage["title"])

    def servers_of(self, storage):
        return [s["uuid"] for s in self.servers.values()
                if any(d["storage"] == storage["uuid"] for d in s["devices"])]

    def storage_summary(self, s):
        shown = {"access": "private", "created": iso(s["created"]), "encrypted": s["encrypted"],
                 "labels": s["labels"], "license": 0, "size": s["size"], "state": self.storage_state(s),
                 "tier": s["tier"], "title": s["title"], "type": s["type"], "uuid": s["uuid"], "zone": s["zone"]}
        if shown["state"] != "online":
            shown["progress"] = "50"
        if s["origin"]:
            shown["origin"] = s["origin"]
        return shown

    def storage_details(self, s):
        return {"storage": {**self.storage_summary(s), "backup_rule": s["backup_rule"],
                            "backups": {"backup": [b["uuid"] for b in self.storages.values()
                                                   if b["type"] == "backup" and b["origin"] == s["uuid"]]},
                            "servers": {"server": self.servers_of(s)}}}

    # Calls: each gets the request and the words of its path

    def list_storages(self, q, scope="private"):
        if scope not in SCOPES:
            return self.show_storage(q, scope)
        rows = [] if scope in ("public", "template") else [
            self.storage_summary(s) for s in self.storages.values()
            if scope in ("private", s["type"]) and has_labels(s["labels"], q.query)]
        if scope in ("public", "template"):
            rows = [t for t in catalog.templates() if has_labels(t["labels"], q.query)]
            rows += [self.storage_summary(s) for s in self.storages.values()
                     if scope == "template" and s["type"] == "template"]
        return 200, {"storages": {"storage": page(rows, q.query)}}

    def show_storage(self, q, id_):
        for template in catalog.templates():
            if template["uuid"] == id_:
                return 200, {"storage": {**template, "servers": {"server": []}, "backups": {"backup": []}}}
        return 200, self.storage_details(self.storage(id_))

    def checked_rule(self, rule):
        if rule:
            known(rule, ("interval", "time", "retention"), "backup_rule")
            for name in ("interval", "time", "retention"):
                if name not in rule:
                    raise invalid(f"{name.upper()}_MISSING", f"The attribute {name} is required.")
        return rule

    def create_storage(self, q):
        body = wrapped(q.json, "storage")
        known(body, ("size", "tier", "title", "zone", "backup_rule", "labels", "encrypted"), "storage")
        for name, code in (("title", "TITLE_MISSING"), ("size", "SIZE_MISSING"), ("zone", "ZONE_MISSING")):
            if not body.get(name):
                raise invalid(code, f"The attribute {name} is required.")
        self.check_zone(body["zone"])
        tier = body.get("tier", "hdd")
        if tier not in TIERS:
            raise invalid("TIER_INVALID", "The attribute tier has an invalid value.")
        storage = self.add_storage(str(body["title"]), number(body["size"], "SIZE_INVALID", 1, 4096, "size"), tier,
                                   body["zone"], False, checked_labels(body.get("labels", [])),
                                   yes_no(body, "encrypted", "no", "VALIDATION_ERROR"),
                                   self.checked_rule(body.get("backup_rule")))
        return 201, self.storage_details(storage)

    def free_storage(self, id_):
        storage = self.storage(id_)
        if self.storage_state(storage) != "online":
            raise Problem(409, "STORAGE_STATE_ILLEGAL", "The operation is not allowed while the storage "
                          f"{storage['uuid']} is in state '{self.storage_state(storage)}'.")
        return storage

    def modify_storage(self, q, id_):
        storage = self.free_storage(id_)
        body = wrapped(q.json, "storage")
        known(body, ("size", "title", "backup_rule", "labels"), "storage")
        if "size" in body:
            size = number(body["size"], "SIZE_INVALID", 1, 4096, "size")
            if size < storage["size"]:
                raise invalid("SIZE_INVALID", "A storage cannot be made smaller.")
            for server in self.servers_of(storage):
                self.need_state(self.servers[server], "stopped")
            storage["size"] = size
        if "labels" in body:
            storage["labels"] = checked_labels(body["labels"])
        if "backup_rule" in body:
            storage["backup_rule"] = self.checked_rule(body["backup_rule"]) or {}
        storage["title"] = str(body.get("title", storage["title"]))
        self.effect("update", "storage", storage["uuid"], storage["title"])
        return 202, self.storage_details(storage)

    def delete_storage(self, q, id_):
        storage = self.free_storage(id_)
        servers = self.servers_of(storage)
        if servers:
            raise Problem(409, "STORAGE_ATTACHED", f"The storage {id_} is attached to server {servers[0]}.")
        if dict(q.query).get("backups") == "delete":
            for backup in [b for b in self.storages.values() if b["origin"] == id_ and b["type"] == "backup"]:
                self.remove_storage(backup)
        self.remove_storage(storage)
        return 204, None

    def copy_storage(self, q, id_, verb):
        """clone, backup, templatize"""
        known_kind = {"clone": "normal", "backup": "backup", "templatize": "template"}[verb]
        if id_ in catalog.TEMPLATES:
            origin = {"uuid": id_, "size": catalog.TEMPLATES[id_][1], "tier": "maxiops", "zone": None}
        else:
            origin = self.free_storage(id_)
        body = wrapped(q.json, "storage")
        known(body, ("title", "zone", "tier", "encrypted", "labels"), "storage")
        if not body.get("title"):
            raise invalid("TITLE_MISSING", "The attribute title is required.")
        zone = body.get("zone", origin["zone"])
        if verb == "clone" and not body.get("zone"):
            raise invalid("ZONE_MISSING", "The attribute zone is required.")
        self.check_zone(zone)
        storage = self.add_storage(str(body["title"]), origin["size"], body.get("tier", origin["tier"]), zone, True,
                                   checked_labels(body.get("labels", [])), kind=known_kind,
                                   origin=id_ if verb == "backup" else None)
        return 201, self.storage_details(storage)
