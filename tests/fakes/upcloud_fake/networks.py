# SPDX-License-Identifier: Apache-2.0
"""Networks, routers and addresses."""
import ipaddress

from . import catalog
from .base import Problem, checked_labels, checked_uuid, has_labels, invalid, known, page, wrapped

IP_NETWORK = ("address", "dhcp", "dhcp_default_route", "dhcp_dns", "dhcp_routes", "family", "gateway",
              "dhcp_bootfile_url", "dhcp_effective_routes", "dhcp_routes_configuration")


class Networks:
    """Part of the Cloud of ../upcloud.py."""

    def make_service_networks(self):
        """Each zone has public networks and the utility network."""
        for n, zone in enumerate(catalog.ZONES):
            for kind, family, address, last in (
                    ("public", "IPv4", f"94.{100 + n}.0.0/16", "8044"), ("utility", "IPv4", f"10.{n}.0.0/16", "8045"),
                    ("public", "IPv6", f"2a04:3540:{n:x}::/64", "8046")):
                id_ = f"03000000-0000-4000-{last}-{n:012x}"
                net = ipaddress.ip_network(address)
                self.networks[id_] = {
                    "uuid": id_, "name": f"{kind.capitalize()} {address}", "type": kind, "zone": zone, "labels": [],
                    "router": None, "next": 10, "free": [], "ip_networks": [
                        {"address": address, "dhcp": "yes", "dhcp_default_route": "yes" if kind == "public" else "no",
                         "dhcp_dns": [], "family": family, "gateway": str(net[1])}]}

    def service_network(self, zone, kind, family):
        return next(n for n in self.networks.values() if n["zone"] == zone and n["type"] == kind and
                    n["ip_networks"][0]["family"] == family)

    def take_address(self, network, family, wanted=None):
        """An address of a network, never one that is in use."""
        part = next((p for p in network["ip_networks"] if p["family"] == family), None)
        if not part:
            raise invalid("IP_ADDRESS_INVALID", f"The network {network['uuid']} has no {family} addresses.")
        net = ipaddress.ip_network(part["address"], strict=False)
        used = self.addresses_of(network) if network["type"] == "private" else ()
        if wanted:
            if ipaddress.ip_address(wanted) not in net:
                raise invalid("IP_ADDRESS_INVALID", f"{wanted} is not in the network {part['address']}.")
            if wanted in used:
                raise Problem(409, "IP_ADDRESS_INVALID", f"{wanted} is in use.")
            return wanted
        if network["type"] != "private" and network["free"]:
            return network["free"].pop()
        while True:
            index, network["next"] = network["next"], network["next"] + 1
            if index >= net.num_addresses - 1:
                raise Problem(409, "IP_ADDRESS_RESOURCES_UNAVAILABLE",
                              f"The network {network['uuid']} has no more addresses.")
            if str(net[index]) not in used and str(net[index]) != part.get("gateway"):
                return str(net[index])

    def addresses_of(self, network):
        return {a["address"] for s in self.servers.values() for i in s["interfaces"]
                if i["network"] == network["uuid"] for a in i["ip_addresses"]["ip_address"]}

    def give_back(self, interface):
        network = self.networks.get(interface["network"])
        if network and network["type"] != "private":
            network["free"] += [a["address"] for a in interface["ip_addresses"]["ip_address"]]

    def network(self, id_):
        id_ = checked_uuid(id_, "NETWORK_INVALID", "network")
        if id_ not in self.networks:
            raise Problem(404, "NETWORK_NOT_FOUND", f"The network {id_} does not exist.")
        return self.networks[id_]

    def own_network(self, id_):
        network = self.network(id_)
        if network["type"] != "private":
            raise Problem(403, "NETWORK_FORBIDDEN", f"The network {id_} is owned by another account.")
        return network

    def users_of(self, network):
        return [s for s in self.servers.values() if any(i["network"] == network["uuid"] for i in s["interfaces"])]

    def network_shown(self, n):
        shown = {"ip_networks": {"ip_network": n["ip_networks"]}, "labels": n["labels"], "name": n["name"],
                 "type": n["type"], "uuid": n["uuid"], "zone": n["zone"]}
        if n["router"]:
            shown["router"] = n["router"]
        users = self.users_of(n) if n["type"] == "private" else []
        if users:
            shown["servers"] = {"server": [{"title": s["title"], "uuid": s["uuid"]} for s in users]}
        return shown

    def checked_ip_networks(self, body):
        known(body, ("ip_network",), "ip_networks")
        parts = body.get("ip_network")
        if not isinstance(parts, list) or not parts:
            raise invalid("NETWORK_INVALID", "The attribute ip_network is required.")
        if len(parts) > 1:
            raise invalid("NETWORK_INVALID", "Only one IP network is supported for each network.")
        done = []
        for part in parts:
            known(part, IP_NETWORK, "ip_network")
            if part.get("family") not in ("IPv4", "IPv6"):
                raise invalid("NETWORK_INVALID", "The attribute family has an invalid value.")
            try:
                net = ipaddress.ip_network(part["address"], strict=False)
                gateway = ipaddress.ip_address(part["gateway"]) if part.get("gateway") else net[1]
            except (KeyError, ValueError) as e:
                raise invalid("ADDRESS_INVALID", "The attribute address has an invalid value.") from e
            if gateway not in net:
                raise invalid("ADDRESS_INVALID", "The attribute gateway has an invalid value.")
            shown = {k: v for k, v in part.items() if v is not None}
            done.append({"dhcp": "no", "dhcp_default_route": "no", "gateway": str(gateway), **shown})
        return done

    def list_networks(self, q):
        words = dict(q.query)
        rows = [self.network_shown(n) for n in self.networks.values()
                if words.get("zone") in (None, n["zone"]) and has_labels(n["labels"], q.query)]
        return 200, {"networks": {"network": page(rows, q.query)}}

    def create_network(self, q):
        body = wrapped(q.json, "network")
        known(body, ("name", "zone", "router", "ip_networks", "labels"), "network")
        if not body.get("name"):
            raise invalid("NETWORK_NAME_MISSING", "The attribute name is required.")
        if not body.get("zone"):
            raise invalid("ZONE_MISSING", "The attribute zone is required.")
        self.check_zone(body["zone"])
        if sum(n["type"] == "private" for n in self.networks.values()) >= self.limits["networks"]:
            raise Problem(403, "RESOURCE_LIMIT_REACHED", "The account's limit of networks is reached.")
        if body.get("router"):
            self.router(body["router"])
        network = {"uuid": self.ids.uuid("03"), "name": str(body["name"]), "type": "private", "zone": body["zone"],
                   "router": body.get("router"), "labels": checked_labels(body.get("labels") or []), "next": 2,
                   "ip_networks": self.checked_ip_networks(body.get("ip_networks", {}))}
        self.networks[network["uuid"]] = network
        self.effect("create", "network", network["uuid"], network["name"])
        return 201, {"network": self.network_shown(network)}

    def show_network(self, q, id_):
        return 200, {"network": self.network_shown(self.network(id_))}

    def modify_network(self, q, id_):
        network = self.own_network(id_)
        body = wrapped(q.json, "network")
        known(body, ("name", "router", "ip_networks", "labels"), "network")
        if body.get("router"):
            self.router(body["router"])
        if "labels" in body:
            network["labels"] = checked_labels(body["labels"])
        if "ip_networks" in body:
            old = network["ip_networks"][0]
            for part in body["ip_networks"].get("ip_network", []):
                known(part, IP_NETWORK, "ip_network")
                if part.get("address", old["address"]) != old["address"]:
                    raise invalid("ADDRESS_INVALID", "The address of a network cannot be changed.")
                old.update({k: v for k, v in part.items() if v is not None})
        network["router"] = body.get("router", network["router"])
        network["name"] = body.get("name", network["name"])
        self.effect("update", "network", id_, network["name"])
        return 200, {"network": self.network_shown(network)}

    def delete_network(self, q, id_):
        network = self.own_network(id_)
        if self.users_of(network):
            raise Problem(409, "NETWORK_NOT_EMPTY", f"The network {id_} has servers attached.")
        del self.networks[network["uuid"]]
        self.effect("delete", "network", id_, network["name"])
        return 204, None

    # Routers

    def router(self, id_):
        id_ = checked_uuid(id_, "ROUTER_INVALID", "router")
        if id_ not in self.routers:
            raise Problem(404, "ROUTER_NOT_FOUND", f"The router {id_} does not exist.")
        return self.routers[id_]

    def router_shown(self, r):
        return {"attached_network_gateways": [], "labels": r["labels"], "name": r["name"], "type": "normal",
                "attached_networks": {"network": [{"uuid": n["uuid"]} for n in self.networks.values()
                                                  if n["router"] == r["uuid"]]},
                "static_routes": r["static_routes"], "uuid": r["uuid"]}

    def list_routers(self, q):
        rows = [self.router_shown(r) for r in self.routers.values() if has_labels(r["labels"], q.query)]
        return 200, {"routers": {"router": page(rows, q.query)}}

    def create_router(self, q):
        body = wrapped(q.json, "router")
        known(body, ("name", "labels", "static_routes"), "router")
        if not body.get("name"):
            raise invalid("ROUTER_NAME_MISSING", "The attribute name is required.")
        router = {"uuid": self.ids.uuid("04"), "name": str(body["name"]),
                  "labels": checked_labels(body.get("labels") or []), "static_routes": body.get("static_routes") or []}
        self.routers[router["uuid"]] = router
        self.effect("create", "router", router["uuid"], router["name"])
        return 201, {"router": self.router_shown(router)}

    def show_router(self, q, id_):
        return 200, {"router": self.router_shown(self.router(id_))}

    def modify_router(self, q, id_):
        router = self.router(id_)
        body = wrapped(q.json, "router")
        known(body, ("name", "labels", "static_routes"), "router")
        if "labels" in body:
            router["labels"] = checked_labels(body["labels"])
        router["name"] = body.get("name", router["name"])
        router["static_routes"] = body.get("static_routes", router["static_routes"])
        self.effect("update", "router", id_, router["name"])
        return 200, {"router": self.router_shown(router)}

    def delete_router(self, q, id_):
        router = self.router(id_)
        if any(n["router"] == id_ for n in self.networks.values()):
            raise Problem(409, "ROUTER_ATTACHED", f"The router {id_} has networks attached.")
        del self.routers[router["uuid"]]
        self.effect("delete", "router", id_, router["name"])
        return 204, None

    # Addresses of servers

    def address_rows(self):
        for server in self.servers.values():
            for interface in server["interfaces"]:
                for a in interface["ip_addresses"]["ip_address"]:
                    yield {"access": interface["type"], "address": a["address"], "family": a["family"],
                           "mac": interface["mac"], "ptr_record": "", "server": server["uuid"],
                           "zone": server["zone"]}

    def list_addresses(self, q):
        return 200, {"ip_addresses": {"ip_address": page(
            [a for a in self.address_rows() if a["access"] != "private"], q.query)}}

    def show_address(self, q, address):
        for row in self.address_rows():
            if row["address"] == address:
                return 200, {"ip_address": row}
        raise Problem(404, "IP_ADDRESS_NOT_FOUND", f"The IP address {address} does not exist.")
