# SPDX-License-Identifier: Apache-2.0
"""The parts of the AWS fakes; the programs are ../aws-moto.py, ../aws-proxy.py and ../aws-metadata.py."""
