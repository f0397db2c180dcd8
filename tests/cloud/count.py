#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how many servers the simulated cloud has: count.py SOCKET"""
import json
import socket
import sys

with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    s.sendall(b'{"do": "dump"}\n')
    print(len(json.loads(s.makefile().readline())["servers"]))
