#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts text files into a C header, so that scripts stay readable files that a linter can check.

    embed.py OUTPUT.h [--strip] [--digest NAME] NAME=FILE...

Each FILE becomes `static const char NAME[]`. --strip leaves out comment lines (not for scripts with
here-documents that hold such lines). --digest adds a macro NAME with the SHA-256 of all the texts.
"""
import hashlib
import sys


def literal(line):
    out = []
    for byte in line.encode():
        char = chr(byte)
        if char in '"\\?':
            out.append('\\' + char)
        elif char == '\n':
            out.append('\\n')
        elif char == '\t':
            out.append('\\t')
        elif 32 <= byte < 127:
            out.append(char)
        else:
            out.append('\\%03o' % byte)
    return '"' + ''.join(out) + '"'


def main(arguments):
    output = arguments.pop(0)
    strip = '--strip' in arguments
    if strip:
        arguments.remove('--strip')
    macro = None
    if '--digest' in arguments:
        i = arguments.index('--digest')
        macro = arguments[i + 1]
        del arguments[i:i + 2]
    digest = hashlib.sha256()
    parts = ['/* Made by embed.py: do not edit. */\n#include <stddef.h>\n']
    for argument in arguments:
        name, path = argument.split('=', 1)
        with open(path, encoding='utf-8') as f:
            lines = f.readlines()
        if strip:
            lines = [line for line in lines if not line.lstrip().startswith('#')]
        digest.update(name.encode() + b'\0' + ''.join(lines).encode() + b'\0')
        body = '\n'.join('        ' + literal(line) for line in lines)
        parts.append('__attribute__((unused)) static const char %s[] =\n%s;\n' % (name, body or '""'))
    if macro:
        parts.append('#define %s "%s"\n' % (macro, digest.hexdigest()))
    with open(output, 'w', encoding='utf-8') as f:
        f.write('\n'.join(parts))


main(sys.argv[1:])
