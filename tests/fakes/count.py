#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what the fake of a scenario says at its port `count`: count.py PORT"""
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as s:
    print(s.makefile().readline().strip())
