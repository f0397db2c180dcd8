# SPDX-License-Identifier: Apache-2.0
"""Servers and their firewall."""
import re

from . import catalog
from .base import Problem, checked_labels, checked_uuid, has_labels, invalid, known, number, page, wrapped, yes_no

CREATE = ("title", "hostname", "zone", "plan", "core_number", "memory_amount", "labels", "metadata", "networking",
          "password_delivery", "storage_devices", "remote_access_enabled", "remote_access_type",
          "remote_access_password", "firewall", "boot_order", "login_user", "user_data", "timezone", "video_model",
          "nic_model", "simple_backup", "avoid_host", "host", "server_group", "interfaces")
MODIFY = ("title", "hostname", "plan", "core_number", "memory_amount", "labels", "metadata", "firewall",
          "boot_order", "timezone", "video_model", "nic_model", "simple_backup", "remote_access_enabled",
          "remote_access_type", "remote_access_password", "avoid_host", "zone")
DEVICE = ("action", "storage", "title", "size", "tier", "address", "type", "encrypted", "backup_rule", "labels",
          "boot_disk")
HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,126}[A-Za-z0-9])?")
RULE = ("action", "comment", "destination_address_end", "destination_address_start", "destination_port_end",
        "destination_port_start", "direction", "family", "icmp_type", "position", "protocol", "source_address_end",
        "source_address_start", "source_port_end", "source_port_start")
RULE_LIMIT = 1000


class Servers:
    """Part of the Cloud of ../upcloud.py."""

    # States: a server has `state` and, if something is under way, `next` = (when, the state then)

    def settle(self, server):
        while server["next"] and self.clock.now() >= server["next"][0]:
            server["state"], server["next"] = server["next"][1], None
        return server

    def server(self, id_):
        id_ = checked_uuid(id_, "SERVER_INVALID", "server")
        if id_ not in self.servers or self.settle(self.servers[id_])["state"] == "gone":
            self.servers.pop(id_, None)
            raise Problem(404, "SERVER_NOT_FOUND", f"The server {id_} does not exist.")
        return self.servers[id_]

    def illegal(self, server, state=None):
        return Problem(409, "SERVER_STATE_ILLEGAL", "The operation is not allowed while the server "
                       f"{server['uuid']} is in state '{state or server['state']}'.")

    def need_state(self, server, *states):
        if server["state"] not in states:
            raise self.illegal(server)

    def after(self, server, state, seconds=None):
        server["next"] = (self.clock.now() + (self.state_s if seconds is None else seconds), state)

    # What replies show

    def server_summary(self, s):
        shown = {"core_number": str(s["core_number"]), "created": int(s["created"]), "hostname": s["hostname"],
                 "labels": {"label": s["labels"]}, "license": 0, "memory_amount": str(s["memory_amount"]),
                 "plan": s["plan"], "plan_ipv4_bytes": "0", "plan_ipv6_bytes": "0",
                 "server_group": s["server_group"], "simple_backup": s["simple_backup"], "state": s["state"],
                 "tags": {"tag": []}, "title": s["title"], "uuid": s["uuid"], "zone": s["zone"]}
        if s["state"] == "started":
            shown["host"] = s["host"]
        if s["state"] == "maintenance" and s["next"]:
            left = (s["next"][0] - self.clock.now()) / max(self.state_s, 0.001)
            shown["progress"] = str(max(0, min(99, int(100 - 100 * left))))
        return shown

    def server_details(self, s):
        addresses = [{"access": i["type"], "address": a["address"], "family": a["family"]}
                     for i in s["interfaces"] if i["type"] != "private" for a in i["ip_addresses"]["ip_address"]]
        shown = self.server_summary(s)
        shown.update({
            "boot_order": s["boot_order"], "firewall": s["firewall"], "ip_addresses": {"ip_address": addresses},
            "metadata": s["metadata"], "networking": {"interfaces": {"interface": s["interfaces"]}},
            "nic_model": s["nic_model"], "remote_access_enabled": s["remote_access_enabled"],
            "remote_access_password": s["remote_access_password"], "remote_access_type": s["remote_access_type"],
            "storage_devices": {"storage_device": [self.device_shown(d) for d in s["devices"]]},
            "timezone": s["timezone"], "video_model": s["video_model"]})
        return {"server": shown}

    def device_shown(self, d):
        storage = self.storages[d["storage"]]
        return {"address": d["address"], "boot_disk": d["boot_disk"], "storage": d["storage"],
                "storage_encrypted": storage["encrypted"], "storage_size": storage["size"],
                "labels": storage["labels"], "storage_tier": storage["tier"], "storage_title": storage["title"],
                "type": "disk"}

    # Create

    def checked_size(self, body, old=None):
        """plan, cores, memory"""
        plan = body.get("plan")
        cores, memory = body.get("core_number"), body.get("memory_amount")
        if plan not in (None, "custom"):
            if plan not in catalog.PLANS:
                raise invalid("PLAN_INVALID", "The attribute plan has an invalid value.")
            size = catalog.PLANS[plan]
            for value, mine, code in ((cores, size[0], "PLAN_CORE_NUMBER_ILLEGAL"),
                                      (memory, size[1], "PLAN_MEMORY_AMOUNT_ILLEGAL")):
                if value not in (None, "", 0, "0") and int(value) != mine:
                    raise invalid(code, f"The plan {plan} has {mine}.")
            return plan, size[0], size[1]
        if old and plan is None and cores is None and memory is None:
            return old["plan"], old["core_number"], old["memory_amount"]
        base = (old["core_number"], old["memory_amount"]) if old else (1, 1024)
        cores = number(base[0] if cores is None else cores, "CORE_NUMBER_INVALID", 1, 64, "core_number")
        memory = number(base[1] if memory is None else memory, "MEMORY_AMOUNT_INVALID", 1024, 1 << 20,
                        "memory_amount")
        return "custom", cores, memory

    def check_quota(self, cores, memory, interfaces, without=None):
        mine = [s for s in self.servers.values() if s is not without]
        if sum(s["core_number"] for s in mine) + cores > self.limits["cores"]:
            raise Problem(403, "SERVER_CORE_LIMIT_REACHED", "The account's limit of CPU cores is reached.")
        if sum(s["memory_amount"] for s in mine) + memory > self.limits["memory"]:
            raise Problem(403, "SERVER_MEMORY_LIMIT_REACHED", "The account's limit of memory is reached.")
        creating = self.limits.get("creating")
        if not without and creating and sum(self.settle(s)["state"] == "maintenance" for s in mine) >= creating:
            raise Problem(403, "SERVER_CREATING_LIMIT_REACHED", "Too many servers are being created.")
        for family in ("IPv4", "IPv6"):
            if 9 * len(mine) < self.limits[f"public_{family.lower()}"]:
                continue  # counting takes long with many servers, and they have fewer interfaces than that
            wanted = sum(kind == "public" and family in families for kind, _, families in interfaces)
            used = sum(a["access"] == "public" and a["family"] == family for a in self.address_rows())
            if wanted and used + wanted > self.limits[f"public_{family.lower()}"]:
                raise Problem(403, "IP_ADDRESS_LIMIT_REACHED",
                              f"The account's limit of public {family} addresses is reached.")

    def checked_interfaces(self, body, zone):
        """[(type, network or None, {family: wanted address})]"""
        if body is None:
            return [("public", None, {"IPv4": None}), ("utility", None, {"IPv4": None}),
                    ("public", None, {"IPv6": None})]
        known(body, ("interfaces",), "networking")
        done = []
        for i in body.get("interfaces", {}).get("interface", []):
            known(i, ("ip_addresses", "type", "network", "source_ip_filtering", "bootable", "index"), "interface")
            kind, network = i.get("type"), None
            if kind not in ("public", "utility", "private"):
                raise invalid("TYPE_INVALID", "The attribute type has an invalid value.")
            if kind == "private":
                network = self.own_network(str(i.get("network", "")))
                if network["zone"] != zone:
                    raise Problem(409, "ZONE_MISMATCH", f"The network {network['uuid']} is in another zone.")
            default = [{"family": network["ip_networks"][0]["family"] if network else "IPv4"}]
            done.append((kind, network, {a.get("family", "IPv4"): a.get("address") for a in
                                         i.get("ip_addresses", {}).get("ip_address") or default}))
        if not done:
            raise invalid("REQUEST_INVALID", "A server needs at least one network interface.")
        return done

    def make_interface(self, index, kind, network, families, zone):
        addresses, used = [], network
        for family, wanted in families.items():
            used = network or self.service_network(zone, kind, family)
            addresses.append({"address": self.take_address(used, family, wanted), "family": family,
                              "dhcp_provided": "yes", "floating": "no"})
        return {"bootable": "no", "index": index, "ip_addresses": {"ip_address": addresses}, "mac": self.ids.mac(),
                "network": used["uuid"], "source_ip_filtering": "yes", "type": kind}

    def checked_devices(self, body, zone, metadata):
        """What to do for each storage_device; nothing is made yet."""
        if not isinstance(body, dict) or not body.get("storage_device"):
            raise invalid("STORAGE_DEVICES_MISSING", "The attribute storage_devices is required.")
        done = []
        for n, d in enumerate(body["storage_device"]):
            known(d, DEVICE, "storage_device")
            action, storage = d.get("action"), d.get("storage")
            if action not in ("create", "clone", "attach"):
                raise invalid("ACTION_INVALID" if action else "ACTION_MISSING", "The attribute action is invalid.")
            least, tier = 1, d.get("tier", "maxiops" if action == "clone" else "hdd")
            if action != "create":
                if not storage:
                    raise invalid("STORAGE_MISSING", "The attribute storage is required.")
                if storage in catalog.TEMPLATES:
                    if action == "attach":
                        raise invalid("PUBLIC_STORAGE_ATTACH", "A public template can only be cloned.")
                    least = catalog.TEMPLATES[storage][1]
                    if catalog.TEMPLATES[storage][2] == "cloud-init" and metadata != "yes":
                        raise invalid("METADATA_DISABLED_ON_CLOUD-INIT",
                                      "Metadata must be enabled when cloning a cloud-init template.")
                else:
                    found = self.free_storage(storage)
                    least = found["size"]
                    if found["zone"] != zone:
                        raise Problem(409, "ZONE_MISMATCH", f"The storage {storage} is in another zone.")
                    if action == "attach" and self.servers_of(found):
                        raise Problem(409, "STORAGE_ATTACHED", f"The storage {storage} is attached already.")
            elif not d.get("size"):
                raise invalid("SIZE_MISSING", "The attribute size is required.")
            size = number(d.get("size") or least, "SIZE_INVALID", least, 4096, "size")
            if action != "attach" and not d.get("title"):
                raise invalid("STORAGE_TITLE_MISSING", "The attribute title is required.")
            done.append({"action": action, "storage": storage, "title": d.get("title", ""), "size": size,
                         "tier": tier, "address": d.get("address") or "virtio", "n": n,
                         "labels": checked_labels(d.get("labels") or []), "rule": self.checked_rule(d.get("backup_rule")),
                         "encrypted": yes_no(d, "encrypted", "no", "VALIDATION_ERROR")})
        return done

    def free_address(self, devices, wanted):
        bus, colon, _ = wanted.partition(":")
        used = {d["address"] for d in devices}
        if colon:
            if wanted in used:
                raise Problem(409, "DEVICE_ADDRESS_IN_USE", f"The address {wanted} is in use.")
            return wanted
        return next(a for a in (f"{bus}:{n}" for n in range(64)) if a not in used)

    def make_devices(self, wanted, zone):
        devices = []
        for d in wanted:
            id_ = d["storage"]
            if d["action"] != "attach":
                id_ = self.add_storage(d["title"], d["size"], d["tier"], zone, d["action"] == "clone", d["labels"],
                                       d["encrypted"], d["rule"])["uuid"]
            devices.append({"address": self.free_address(devices, d["address"]), "boot_disk": "0", "storage": id_})
        return devices

    def checked_login(self, user):
        if user is None:
            return "root"
        known(user, ("username", "create_password", "ssh_keys"), "login_user")
        yes_no(user, "create_password", "yes", "CREATE_PASSWORD_INVALID")
        keys = user.get("ssh_keys") or {}
        known(keys, ("ssh_key",), "ssh_keys")
        for key in keys.get("ssh_key", []):
            if not re.match(r"(ssh-|ecdsa-|sk-)\S+ \S+", str(key)):
                raise invalid("REQUEST_INVALID", "An SSH key is invalid.")
        return user.get("username", "root")

    @staticmethod
    def checked_names(body, old=None):
        old = old or {}
        title, hostname = body.get("title", old.get("title")), body.get("hostname", old.get("hostname"))
        if not title:
            raise invalid("SERVER_TITLE_MISSING", "The attribute title is required.")
        if not isinstance(title, str) or len(title) > 255:
            raise invalid("SERVER_TITLE_INVALID", "The attribute title has an invalid value.")
        if not hostname:
            raise invalid("HOSTNAME_MISSING", "The attribute hostname is required.")
        if not isinstance(hostname, str) or not HOSTNAME.fullmatch(hostname):
            raise invalid("HOSTNAME_INVALID", "The attribute hostname has an invalid value.")
        return title, hostname

    @staticmethod
    def switches(body, old):
        """The attributes that are only kept."""
        if body.get("firewall", "off") not in ("on", "off"):
            raise invalid("FIREWALL_INVALID", "The attribute firewall has an invalid value.")
        yes_no(body, "remote_access_enabled", "no", "VNC_INVALID")
        yes_no(body, "metadata", "no", "REQUEST_INVALID")
        return {name: body.get(name, old[name]) for name in old}

    def create_server(self, q):
        body = wrapped(q.json, "server")
        known(body, CREATE, "server")
        title, hostname = self.checked_names(body)
        if not body.get("zone"):
            raise invalid("ZONE_MISSING", "The attribute zone is required.")
        zone = self.check_zone(body["zone"])
        plan, cores, memory = self.checked_size(body)
        if body.get("password_delivery", "none") not in ("none", "email", "sms"):
            raise invalid("PASSWORD_DELIVERY_INVALID", "The attribute password_delivery has an invalid value.")
        username = self.checked_login(body.get("login_user"))
        labels = body.get("labels") or {}
        known(labels, ("label",), "labels")
        labels = checked_labels(labels.get("label", []))
        kept = self.switches(body, {
            "boot_order": "disk", "firewall": "off", "metadata": "no", "nic_model": "virtio", "timezone": "UTC",
            "remote_access_enabled": "no", "remote_access_password": self.ids.secret(8), "simple_backup": "no",
            "remote_access_type": "vnc", "video_model": "cirrus", "server_group": None})
        interfaces = self.checked_interfaces(body.get("networking"), zone)
        devices = self.checked_devices(body.get("storage_devices"), zone, kept["metadata"])
        self.check_quota(cores, memory, interfaces)
        now = self.clock.now()
        server = {"uuid": self.ids.uuid("00"), "title": title, "hostname": hostname, "zone": zone, "plan": plan,
                  "core_number": cores, "memory_amount": memory, "labels": labels, "created": now,
                  "state": "maintenance", "next": None, "host": 5872304771 + self.ids.dice.randrange(1000),
                  "rules": [], "visible": now + self.list_lag_s, "user_data": body.get("user_data"),
                  "login_user": body.get("login_user"), **kept,
                  "interfaces": [self.make_interface(n + 1, *i, zone) for n, i in enumerate(interfaces)],
                  "devices": self.make_devices(devices, zone)}
        self.after(server, "error" if q.note.pop("create-error", None) else "started")
        self.servers[server["uuid"]] = server
        self.effect("create", "server", server["uuid"], title, labels)
        said = self.server_details(server)
        said["server"].update({"password": self.ids.secret(16), "progress": "0", "username": username})
        return 202, said

    # List, details, modify

    def list_servers(self, q):
        now = self.clock.now()
        found = [s for s in list(self.servers.values()) if now >= s["visible"] and has_labels(s["labels"], q.query)]
        rows = [self.server_summary(s) for s in found if self.settle(s)["state"] != "gone"]
        return 200, {"servers": {"server": page(rows, q.query)}}

    def show_server(self, q, id_):
        return 200, self.server_details(self.server(id_))

    def modify_server(self, q, id_):
        server = self.server(id_)
        body = wrapped(q.json, "server")
        known(body, MODIFY, "server")
        self.need_state(server, "started", "stopped")
        title, hostname = self.checked_names(body, server)
        size = self.checked_size(body, server)
        if size[1:] != (server["core_number"], server["memory_amount"]) or size[0] != server["plan"]:
            self.need_state(server, "stopped")
            self.check_quota(size[1], size[2], [], server)
        if "labels" in body:
            known(body["labels"], ("label",), "labels")
            server["labels"] = checked_labels(body["labels"].get("label", []))
        server.update(self.switches(body, {k: server[k] for k in MODIFY if k in server and k not in
                                           ("labels", "zone", "title", "hostname", "plan", "core_number",
                                            "memory_amount")}))
        server["title"], server["hostname"] = title, hostname
        server["plan"], server["core_number"], server["memory_amount"] = size
        self.effect("update", "server", id_, title)
        return 202, self.server_details(server)

    # Start, stop, restart, delete

    def start_server(self, q, id_):
        server = self.server(id_)
        self.need_state(server, "stopped")
        server["state"] = "started"
        said = self.server_details(server)  # says so before it is true
        server["state"] = "maintenance"
        self.after(server, "started")
        self.effect("start", "server", id_, server["title"])
        return 200, said

    def checked_stop(self, body, extra=()):
        known(body, ("stop_type", "timeout", *extra), "the body")
        if body.get("stop_type", "soft") not in ("soft", "hard"):
            raise invalid("STOP_TYPE_INVALID", "The attribute stop_type has an invalid value.")
        return body.get("stop_type", "soft"), number(body.get("timeout", 60), "TIMEOUT_INVALID", 1, 600 * 60, "timeout")

    def stop_server(self, q, id_):
        server = self.server(id_)
        kind, timeout = self.checked_stop(wrapped(q.json, "stop_server") if q.body else {})
        self.need_state(server, "started")
        said = self.server_details(server)  # still started
        self.after(server, "stopped", timeout if kind == "soft" and server.get("stubborn") else None)
        self.effect("stop", "server", id_, server["title"])
        return 200, said

    def restart_server(self, q, id_):
        server = self.server(id_)
        self.checked_stop(wrapped(q.json, "restart_server") if q.body else {}, ("timeout_action", "host"))
        self.need_state(server, "started")
        said = self.server_details(server)
        server["state"] = "maintenance"
        self.after(server, "started")
        self.effect("restart", "server", id_, server["title"])
        return 200, said

    def delete_server(self, q, id_):
        server = self.server(id_)
        self.need_state(server, "stopped", "error")
        words = dict(q.query)
        if words.get("storages", "0") not in ("0", "1", "true", "false"):
            raise invalid("REQUEST_INVALID", "The parameter storages has an invalid value.")
        if words.get("backups", "keep") not in ("keep", "keep_latest", "delete"):
            raise invalid("BACKUP_DELETION_POLICY_INVALID", "The parameter backups has an invalid value.")
        for interface in server["interfaces"]:
            self.give_back(interface)
        devices, server["devices"] = server["devices"], []
        server["interfaces"] = []
        if words.get("storages") in ("1", "true"):
            for device in devices:
                self.remove_storage(self.storages[device["storage"]])
        if self.delete_s:
            server["state"] = "pending_delete"
            self.after(server, "gone", self.delete_s)
        else:
            del self.servers[server["uuid"]]
        self.effect("delete", "server", id_, server["title"])
        return 204, None

    # Storages of a server

    def attach_storage(self, q, id_):
        server = self.server(id_)
        body = wrapped(q.json, "storage_device")
        known(body, ("storage", "address", "type", "boot_disk"), "storage_device")
        wanted = str(body.get("address") or "virtio")
        self.need_state(server, *(("started", "stopped") if wanted.startswith("virtio") else ("stopped",)))
        storage = self.free_storage(str(body.get("storage", "")))
        if self.servers_of(storage):
            raise Problem(409, "STORAGE_ATTACHED", f"The storage {storage['uuid']} is attached already.")
        if storage["zone"] != server["zone"]:
            raise Problem(409, "ZONE_MISMATCH", f"The storage {storage['uuid']} is in another zone.")
        server["devices"].append({"address": self.free_address(server["devices"], wanted), "boot_disk": "0",
                                  "storage": storage["uuid"]})
        self.effect("attach", "storage", storage["uuid"], storage["title"])
        return 200, self.server_details(server)

    def detach_storage(self, q, id_):
        server = self.server(id_)
        body = wrapped(q.json, "storage_device")
        known(body, ("address",), "storage_device")
        self.need_state(server, "started", "stopped")
        device = next((d for d in server["devices"] if d["address"] == body.get("address")), None)
        if not device:
            raise Problem(404, "DEVICE_ADDRESS_NOT_IN_USE", f"The address {body.get('address')} is not in use.")
        server["devices"].remove(device)
        self.effect("detach", "storage", device["storage"], "")
        return 200, self.server_details(server)

    def show_networking(self, q, id_):
        return 200, {"networking": {"interfaces": {"interface": self.server(id_)["interfaces"]}}}

    # Interfaces

    def add_interface(self, q, id_):
        server = self.server(id_)
        self.need_state(server, "stopped", "started")
        body = wrapped(q.json, "interface")
        wanted = self.checked_interfaces({"interfaces": {"interface": [body]}}, server["zone"])
        index = next(n for n in range(1, 100) if n not in {i["index"] for i in server["interfaces"]})
        interface = self.make_interface(index, *wanted[0], server["zone"])
        server["interfaces"].append(interface)
        self.effect("attach", "interface", id_, str(index))
        return 201, {"interface": interface}

    def remove_interface(self, q, id_, index):
        server = self.server(id_)
        self.need_state(server, "stopped", "started")
        interface = next((i for i in server["interfaces"] if str(i["index"]) == index), None)
        if not interface:
            raise Problem(404, "INTERFACE_NOT_FOUND", f"The interface {index} does not exist.")
        self.give_back(interface)
        server["interfaces"].remove(interface)
        self.effect("detach", "interface", id_, index)
        return 204, None

    # Firewall

    def firewalled(self, id_):
        server = self.server(id_)
        self.need_state(server, "started", "stopped")
        return server

    @staticmethod
    def checked_fw_rule(rule):
        known(rule, RULE, "firewall_rule")
        rule = {name: rule.get(name) or "" for name in RULE}
        if rule["action"] not in ("accept", "drop", "reject"):
            raise invalid("ACTION_INVALID" if rule["action"] else "ACTION_MISSING", "The attribute action is invalid.")
        if rule["direction"] not in ("in", "out"):
            raise invalid("DIRECTION_INVALID" if rule["direction"] else "DIRECTION_MISSING",
                          "The attribute direction is invalid.")
        if rule["family"] not in ("", "IPv4", "IPv6"):
            raise invalid("FAMILY_INVALID", "The attribute family has an invalid value.")
        if rule["protocol"] not in ("", "tcp", "udp", "icmp"):
            raise invalid("PROTOCOL_INVALID", "The attribute protocol has an invalid value.")
        for name, value in rule.items():
            if not isinstance(value, str):
                raise invalid(f"{name.upper()}_INVALID", f"The attribute {name} must be a string.")
            if "port" in name and value:
                number(value, f"{name.upper()}_INVALID", 1, 65535, name)
                if rule["protocol"] not in ("tcp", "udp"):
                    raise invalid("PORT_PROTOCOL_MISMATCH", "Ports need the protocol tcp or udp.")
            if "address" in name and value and not rule["family"]:
                raise invalid("FAMILY_MISSING", "Addresses need a family.")
        for side in ("source", "destination"):
            if bool(rule[f"{side}_port_start"]) != bool(rule[f"{side}_port_end"]):
                raise invalid(f"{side.upper()}_PORT_END_INVALID", "Both ends of a range of ports are needed.")
            if rule[f"{side}_port_start"] and int(rule[f"{side}_port_start"]) > int(rule[f"{side}_port_end"]):
                raise invalid(f"{side.upper()}_PORT_ORDER_ILLEGAL", "The range of ports ends before it starts.")
        return rule

    @staticmethod
    def rules_shown(server):
        return [{**rule, "position": str(n + 1)} for n, rule in enumerate(server["rules"])]

    def rule_index(self, server, position):
        if not position.isdigit() or not 1 <= int(position) <= len(server["rules"]):
            raise Problem(404, "FIREWALL_RULE_NOT_FOUND", f"The firewall rule {position} does not exist.")
        return int(position) - 1

    def list_rules(self, q, id_):
        return 200, {"firewall_rules": {"firewall_rule": self.rules_shown(self.server(id_))}}

    def show_rule(self, q, id_, position):
        server = self.server(id_)
        return 200, {"firewall_rule": self.rules_shown(server)[self.rule_index(server, position)]}

    def create_rule(self, q, id_):
        server = self.firewalled(id_)
        rule = self.checked_fw_rule(wrapped(q.json, "firewall_rule"))
        if len(server["rules"]) >= RULE_LIMIT:
            raise Problem(409, "FIREWALL_RULE_LIMIT_REACHED", "The server has too many firewall rules.")
        at = len(server["rules"])
        if rule["position"]:
            at = number(rule["position"], "POSITION_INVALID", 1, RULE_LIMIT, "position") - 1
        at = min(at, len(server["rules"]))
        server["rules"].insert(at, rule)
        self.effect("firewall", "server", id_, server["title"])
        return 201, {"firewall_rule": self.rules_shown(server)[at]}

    def replace_rules(self, q, id_):
        server = self.firewalled(id_)
        body = wrapped(q.json, "firewall_rules")
        known(body, ("firewall_rule",), "firewall_rules")
        rules = [self.checked_fw_rule(r) for r in body.get("firewall_rule") or []]
        if len(rules) > RULE_LIMIT:
            raise Problem(409, "FIREWALL_RULE_LIMIT_REACHED", "The server has too many firewall rules.")
        server["rules"] = sorted(rules, key=lambda r: int(r["position"] or 0)) if all(
            r["position"] for r in rules) else rules
        self.effect("firewall", "server", id_, server["title"])
        return 204, None

    def delete_rule(self, q, id_, position):
        server = self.firewalled(id_)
        del server["rules"][self.rule_index(server, position)]
        self.effect("firewall", "server", id_, server["title"])
        return 204, None
