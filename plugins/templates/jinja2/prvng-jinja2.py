#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks and evaluates Jinja2 expressions, one after another, until stdin ends.

Usage: prvng-jinja2.py RESULT_MAX       (started by the plugin jinja2, inside prvng-sandbox)

First says {"ready": "Jinja2 3.1.2"} or {"missing": WHY}. Then each request is two lines,

    {"id": 1, "do": "evaluate", "expression": "outputs.x > 1"}
    {"outputs": {"x": 2}}                  the variables; for "check" the list of their names, or null

and each answer two lines:

    {"id": 1, "code": 0}                   and the result, {"value": true, "seen": {"outputs.x": 2}}
    {"id": 1, "code": 2, "message": WHY}   and an empty line

Codes: those of prvng/kind/template.h (1 syntax, 2 undefined, 3 failed), and 10 for no more memory, after
which the process ends. Limits of time are the plugin's, those of memory the sandbox's.
"""
import collections.abc
import hashlib
import json
import resource
import sys

SYNTAX, UNDEFINED, FAILED, MEMORY = 1, 2, 3, 10
CACHED = 1024      # compiled expressions
SEEN_MAX = 16      # values shown of one expression
SEEN_LENGTH = 200  # of one value, as JSON
CPU_SECONDS = 600  # nothing may go on longer than this, even if the plugin does not look
CPU_ENOUGH = 300   # after so many it is time for a fresh process
MESSAGE_MAX = 1000

try:
    import jinja2
    from jinja2 import lexer, nodes, sandbox
    from jinja2.environment import TemplateExpression
    from jinja2.parser import Parser
except ImportError as e:
    print(json.dumps({"missing": str(e)}), flush=True)
    sys.exit(3)


class Wrong(Exception):
    """What is wrong with an expression."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Placed(lexer.Token):
    """A token that knows where it stands."""


class Environment(sandbox.ImmutableSandboxedEnvironment):
    """Keeps the tokens of what it parsed last."""

    def __init__(self):
        super().__init__(undefined=jinja2.StrictUndefined, autoescape=False, optimized=False, cache_size=0)
        # Nothing that differs from one evaluation to the next.
        self.globals = {name: self.globals[name] for name in ("range", "dict")}
        self.filters.pop("random", None)
        self.tokens = []

    def _tokenize(self, source, name, filename=None, state=None):
        self.tokens = []
        raw, at = [], 0
        for line, kind, value in self.lexer.tokeniter(source, name, filename, state):
            # The lexer tells no columns, and leaves out nothing but the blanks that it skips.
            found = source.find(value, at)
            at = found if found >= 0 else at
            raw.append((line, kind, value, at))
            at += len(value) if found >= 0 else 0

        def placed():
            for line, kind, value, offset in raw:
                for token in self.lexer.wrap(iter([(line, kind, value)]), name, filename):
                    token = Placed(*token)
                    token.offset = offset
                    self.tokens.append(token)
                    yield token

        return lexer.TokenStream(placed(), name, filename)


ENV = Environment()


def place(source, offset):
    line = source.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - source.rfind(chr(10), 0, offset)}"


class Chain:
    """outputs.state, outputs["a b"][0]: a name, and the constant members behind it."""

    def __init__(self, parts):
        self.parts = parts

    def text(self, n=None):
        parts = self.parts[:n]
        return parts[0] + "".join(f".{p}" if isinstance(p, str) and p.isidentifier() else
                                  f"[{json.dumps(p, ensure_ascii=False)}]" for p in parts[1:])

    def walk(self, variables):
        """The value, and how many parts of the way were there."""
        if self.parts[0] not in variables:
            return None, 0
        value = variables[self.parts[0]]
        for i, part in enumerate(self.parts[1:], 1):
            get = ENV.getattr if isinstance(part, str) and part.isidentifier() else ENV.getitem
            value = get(value, part)
            if isinstance(value, jinja2.Undefined):
                return None, i
        return value, len(self.parts)


def chain_of(node):
    """The chain that ends in this node, or None."""
    parts = []
    while True:
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            parts.append(node.arg.value)
        elif isinstance(node, nodes.Name):
            return Chain([node.name] + parts[::-1])
        else:
            return None
        node = node.node


def chains_of(node, found):
    """The longest chains below a node, in the order as written. Of a method that is called, what it is a
    method of."""
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        chains_of(node.node.node, found)
        for child in list(node.args) + list(node.kwargs):
            chains_of(child, found)
        return
    chain = chain_of(node)
    if chain:
        found.setdefault(chain.text(), chain)
        return
    for child in node.iter_child_nodes():
        chains_of(child, found)


class Expression:
    def __init__(self, source):
        self.source = source
        node = self.parse()
        self.tokens = [(t.type, t.value, t.offset) for t in ENV.tokens]
        self.names = [n.name for n in [node, *node.find_all(nodes.Name)] if isinstance(n, nodes.Name)]
        found = {}
        chains_of(node, found)
        self.chains = list(found.values())
        node.set_environment(ENV)
        body = [nodes.Assign(nodes.Name("result", "store"), node, lineno=1)]
        try:
            template = ENV.from_string(nodes.Template(body, lineno=1))
        except jinja2.TemplateSyntaxError as e:  # an unknown filter or test
            raise Wrong(SYNTAX, self.at_word(str(e.message))) from None
        self.compiled = TemplateExpression(template, False)

    def parse(self):
        parser = None
        try:
            parser = Parser(ENV, self.source, state="variable")
            node = parser.parse_expression()
            if not parser.stream.eos:
                parser.fail(f"unexpected {lexer.describe_token(parser.stream.current)!r} behind the expression")
            return node
        except jinja2.TemplateSyntaxError as e:
            message = (e.message or "it cannot be read").replace("end of template", "end of expression")
            token = parser.stream.current if parser else None
            if message == "expected name or number" and ENV.tokens[-1].type != "dot":
                # The only error that is found after the token has been passed.
                offset = ENV.tokens[-2 if isinstance(token, Placed) else -1].offset
            elif isinstance(token, Placed):
                offset = token.offset
            elif parser:
                offset = len(self.source)
            else:  # the lexer stopped: its message tells the character's index from 0
                message, _, digits = message.rpartition(" at ")
                offset = int(digits) if digits.isdigit() else 0
            if self.source.lstrip().startswith("{{"):
                message, offset = "an expression stands without {{ and }}", 0
            raise Wrong(SYNTAX, f"{message.rstrip('.')}, {place(self.source, offset)}") from None

    def at_word(self, message):
        """The message with the place of what it quotes last, if the expression has that."""
        for word in reversed(message.split("'")[1::2]):
            for _, value, offset in self.tokens:
                if str(value) == word:
                    return f"{message.rstrip('.')}, {place(self.source, offset)}"
        return message

    def offset_of(self, chain, part):
        """Where the part of a chain stands, or None."""
        for i, (kind, value, offset) in enumerate(self.tokens):
            before = self.tokens[i - 1][0] if i else ""
            if kind != "name" or value != chain.parts[0] or before in ("dot", "pipe"):
                continue
            rest = [t for t in self.tokens[i:] if t[0] not in ("dot", "lbracket", "rbracket")]
            wanted = chain.parts[:part + 1]
            if [t[1] for t in rest[:len(wanted)]] == wanted:
                return rest[part][2]
        return None

    def undefined(self, variables, said):
        """Which member it is that is not there."""
        for chain in self.chains:
            _, n = chain.walk(variables)
            if n == len(chain.parts) or chain.parts[0] in ENV.globals:
                continue
            offset = self.offset_of(chain, n)
            return f"{chain.text(n + 1)} is not defined" + \
                (f", {place(self.source, offset)}" if offset is not None else "")
        return self.at_word(said)

    def check(self, names):
        for name in self.names:
            if names is None or name in names or name in ENV.globals:
                continue
            offset = self.offset_of(Chain([name]), 0) or 0
            there = ", ".join(names) if names else "none"
            raise Wrong(UNDEFINED, f"there is no variable \"{name}\" here, only {there}, "
                                   f"{place(self.source, offset)}")

    def seen(self, variables):
        values = {}
        for chain in self.chains[:SEEN_MAX]:
            if chain.parts[0] in ENV.globals:
                continue
            value, n = chain.walk(variables)
            if n < len(chain.parts) or callable(value):
                continue
            if isinstance(value, str) and len(value) > SEEN_LENGTH:
                values[chain.text()] = value[:SEEN_LENGTH] + "..."
            elif isinstance(value, (dict, list)) and (len(value) > SEEN_LENGTH // 2 or
                                                     len(dump(value)) > SEEN_LENGTH):
                continue
            else:
                values[chain.text()] = value
        return values

    def evaluate(self, variables):
        try:
            return {"value": plain(self.compiled(variables), 0), "seen": self.seen(variables)}
        except jinja2.UndefinedError as e:
            raise Wrong(UNDEFINED, self.undefined(variables, str(e.message))) from None
        except jinja2.TemplateSyntaxError as e:
            raise Wrong(SYNTAX, self.at_word(str(e.message))) from None
        except jinja2.sandbox.SecurityError as e:
            raise Wrong(FAILED, f"not allowed: {self.at_word(str(e))}") from None


def plain(value, depth):
    """The value as JSON knows it."""
    if depth > 100:
        raise Wrong(FAILED, "the value has lists in lists in lists, more than 100 deep")
    if isinstance(value, jinja2.Undefined):
        value._fail_with_undefined_error()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if not -2**63 <= value < 2**63:
            raise Wrong(FAILED, "the value is a number beyond 64 bits")
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise Wrong(FAILED, f"the value is {value}, which is no JSON")
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise Wrong(FAILED, "the value is a map with keys that are no strings")
        return {str(key): plain(v, depth + 1) for key, v in value.items()}
    if isinstance(value, (list, tuple, range, collections.abc.MappingView)) or hasattr(value, "__next__"):
        return [plain(v, depth + 1) for v in value]
    raise Wrong(FAILED, f"the value is of the type {type(value).__name__}, which is no JSON")


def dump(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def serve(cache, header, body, result_max):
    source = header["expression"]
    digest = hashlib.sha256(source.encode()).digest()
    expression = cache.pop(digest, None) or Expression(source)
    cache[digest] = expression
    if len(cache) > CACHED:
        cache.popitem(last=False)
    if header["do"] == "check":
        expression.check(json.loads(body))
        return b""
    result = dump(expression.evaluate(json.loads(body)))
    if len(result) > result_max:
        raise Wrong(FAILED, f"the value is longer than {result_max >> 20} MiB")
    return result


def answer(cache, header, body, result_max):
    """(code, message, result)"""
    try:
        return 0, None, serve(cache, header, body, result_max)
    except MemoryError:
        return MEMORY, "it needs too much memory", b""
    except Wrong as e:
        return e.code, str(e), b""
    except RecursionError:
        return FAILED, "it is nested too deeply", b""
    except Exception as e:  # whatever an expression makes Python say
        return FAILED, f"{type(e).__name__}: {e}", b""


def main(result_max):
    cache = collections.OrderedDict()
    out, lines = sys.stdout.buffer, sys.stdin.buffer
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    out.write(dump({"ready": f"Jinja2 {jinja2.__version__}"}) + b"\n")
    out.flush()
    while True:
        header, body = lines.readline(), lines.readline()
        if not body.endswith(b"\n"):
            return
        header = json.loads(header)
        code, message, result = answer(cache, header, body, result_max)
        reply = {"id": header["id"], "code": code}
        if code:
            reply["message"] = message[:MESSAGE_MAX].encode("utf-8", "replace").decode()
        out.write(dump(reply) + b"\n" + result + b"\n")
        out.flush()
        used = resource.getrusage(resource.RUSAGE_SELF)
        if code == MEMORY or used.ru_utime + used.ru_stime > CPU_ENOUGH:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
