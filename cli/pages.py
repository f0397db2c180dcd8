#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pages.py PROGRAM FOLDER: an empty FOLDER, filled by `PROGRAM man FOLDER`."""
import os
import shutil
import subprocess
import sys

program, folder = sys.argv[1:]
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
sys.exit(subprocess.run([program, "man", folder], check=False).returncode)
