# SPDX-License-Identifier: Apache-2.0
"""The parts of the UpCloud fake; the program is ../upcloud.py."""
