# SPDX-License-Identifier: Apache-2.0
"""What the fake cloud offers: zones, plans, templates."""

ZONES = {"de-fra1": "Frankfurt #1", "fi-hel1": "Helsinki #1", "fi-hel2": "Helsinki #2",
         "nl-ams1": "Amsterdam #1", "pl-waw1": "Warsaw #1", "se-sto1": "Stockholm #1",
         "sg-sin1": "Singapore #1", "uk-lon1": "London #1", "us-chi1": "Chicago #1",
         "us-nyc1": "New York #1", "us-sjo1": "San Jose #1"}

# name -> cores, MiB, disk in GiB, traffic in GiB
PLANS = {"1xCPU-1GB": (1, 1024, 25, 1024), "1xCPU-2GB": (1, 2048, 50, 2048),
         "2xCPU-4GB": (2, 4096, 80, 4096), "4xCPU-8GB": (4, 8192, 160, 5120),
         "6xCPU-16GB": (6, 16384, 320, 6144), "8xCPU-32GB": (8, 32768, 640, 7168),
         "12xCPU-48GB": (12, 49152, 960, 9216), "16xCPU-64GB": (16, 65536, 1280, 10240),
         "20xCPU-96GB": (20, 98304, 1920, 12288), "20xCPU-128GB": (20, 131072, 2048, 24576),
         "DEV-1xCPU-1GB": (1, 1024, 20, 1024), "HICPU-8xCPU-12GB": (8, 12288, 100, 4096),
         "HIMEM-2xCPU-8GB": (2, 8192, 100, 2048)}

# id -> title, GiB, type: a template of type cloud-init wants the metadata service
TEMPLATES = {
    "01000000-0000-4000-8000-000020060100": ("Debian GNU/Linux 11 (Bullseye)", 3, "native"),
    "01000000-0000-4000-8000-000020070100": ("Debian GNU/Linux 12 (Bookworm)", 3, "cloud-init"),
    "01000000-0000-4000-8000-000030200200": ("Ubuntu Server 20.04 LTS (Focal Fossa)", 4, "native"),
    "01000000-0000-4000-8000-000030220200": ("Ubuntu Server 22.04 LTS (Jammy Jellyfish)", 4, "cloud-init"),
    "01000000-0000-4000-8000-000030240200": ("Ubuntu Server 24.04 LTS (Noble Numbat)", 4, "cloud-init"),
    "01000000-0000-4000-8000-000140020100": ("AlmaLinux 9", 4, "cloud-init")}

LIMITS = {"cores": 100000, "detached_floating_ips": 10, "load_balancers": 50, "managed_object_storages": 7,
          "memory": 1 << 30, "network_peerings": 100, "networks": 10000, "ntp_excess_gib": 20000,
          "public_ipv4": 100000, "public_ipv6": 100000, "storage_hdd": 1 << 30, "storage_maxiops": 1 << 30,
          "storage_ssd": 1 << 30, "gpus": 8}


def zones():
    return {"zones": {"zone": [{"description": d, "id": z, "public": "yes"} for z, d in ZONES.items()]}}


def plans():
    return {"plans": {"plan": [{"core_number": c, "memory_amount": m, "name": n, "public_traffic_out": t,
                                "storage_size": s, "storage_tier": "maxiops"}
                               for n, (c, m, s, t) in PLANS.items()]}}


def sizes():
    return {"server_sizes": {"server_size": [
        {"core_number": str(c), "memory_amount": str(m * 1024)} for c in (1, 2, 4, 8) for m in (1, 2, 4, 8, 16)]}}


def templates():
    return [{"access": "public", "encrypted": "no", "labels": [], "license": 0, "size": size,
             "state": "online", "template_type": kind, "title": title, "type": "template", "uuid": id_}
            for id_, (title, size, kind) in TEMPLATES.items()]
