#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kcl/dependencies.k of each taskserv says the same as its plugin (dependencies.json).

    test-dependencies.py SCHEMAS FOLDER...

Where the Python package kcl_lib is installed, KCL itself evaluates the file with the schemas in the
folder SCHEMAS; else the literals are read here, which is enough as these files hold nothing else.
"""
import json
import os
import re
import sys

try:
    import kcl_lib.api as kcl
except ImportError:
    kcl = None


def evaluate(path, schemas):
    """The value of `dependencies` by KCL itself."""
    package = kcl.ExternalPkg(pkg_name='workflows', pkg_path=schemas)
    result = kcl.API().exec_program(kcl.ExecProgramArgs(k_filename_list=[path],
                                                        external_pkgs=[package]))
    if result.err_message:
        sys.exit(result.err_message)
    return json.loads(result.json_result)['dependencies']


def literals(path):
    """The value of `dependencies`, with KCL's literals turned into Python's."""
    with open(path, encoding='utf-8') as f:
        text = f.read()
    text = text[text.index('TaskservDependencies {') + len('TaskservDependencies '):]
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[{}\[\],=]|[\w.]+', text)

    def value():
        token = tokens.pop(0)
        if token == '{':
            out = {}
            while tokens[0] != '}':
                key = tokens.pop(0)
                assert tokens.pop(0) == '=', key
                out[key] = value()
                if tokens[0] == ',':
                    tokens.pop(0)
            tokens.pop(0)
            return out
        if token == '[':
            out = []
            while tokens[0] != ']':
                out.append(value())
                if tokens[0] == ',':
                    tokens.pop(0)
            tokens.pop(0)
            return out
        if token[0] in '"\'':
            return token[1:-1]
        return json.loads(token)

    return value()


def main(schemas, folders):
    failed = False
    by_kcl = kcl is not None and os.path.exists(os.path.join(schemas, 'workflows.k'))
    for folder in folders:
        path = os.path.join(folder, 'kcl', 'dependencies.k')
        with open(os.path.join(folder, 'dependencies.json'), encoding='utf-8') as f:
            said = json.load(f)
        read = evaluate(path, schemas) if by_kcl else literals(path)
        ok = said == read
        failed |= not ok
        print('%s %s%s' % ('ok' if ok else 'NOT THE SAME', folder, ' (by KCL)' if by_kcl else ''))
        if not ok:
            print('  plugin: %s\n  KCL:    %s' % (said, read))
    return failed


sys.exit(main(sys.argv[1], sys.argv[2:]))
