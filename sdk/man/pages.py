#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a manual page from headers of the SDK: they are the text, so that both say the same.

    pages.py TITLE ONE_LINE OUTPUT HEADER...
"""
import re
import sys

title, line, output, *headers = sys.argv[1:]


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + s if s[:1] in (".", "'") else s for s in text.split("\n"))


page = [f'.TH {title.upper()} 7 "" "prvng" "Plugins of prvng"', ".SH NAME", roff(f"{title} - {line}"), ".SH SYNOPSIS",
        ".nf", "#include <prvng/prvng.h>", ".fi"]
for header in headers:
    with open(header, encoding="utf-8") as f:
        source = f.read()
    name = header.split("include/", 1)[1]
    source = re.sub(r"^/\* SPDX.*\n|^#(ifndef|define) PRVNG_\w+_H$\n|^#(ifdef __cplusplus|endif|include).*\n|"
                    r'^extern "C" \{\n|^\}\n', "", source, flags=re.M)
    about, _, rest = source.partition("*/")
    about = re.sub(r"^(/\*| \*) ?", "", about, flags=re.M).strip()
    page += [f".SH {name.upper()}", ".nf", roff(about), ".fi", ".PP", ".nf",
             roff(re.sub(r"\n{3,}", "\n\n", rest).strip()), ".fi"]
page += [".SH OWNERSHIP AND THREADS",
         roff("Inputs are valid for the call only unless it is said otherwise; outputs leave by a sink or as an interned "
              "string; neither side frees a pointer of the other. [main]: the thread that started the engine. [worker]: "
              "one of its workers, never two calls at once for one operation. [any]: any thread, several at once."),
         ".SH API CHANGES BY VERSION",
         ".TP", "1.0", "All of the above.",
         ".SH SEE ALSO", roff("prvng-plugin(7), prvng-plugin-check(1), prvng-plugin-provider(7), "
                              "prvng-plugin-taskserv(7), prvng-plugin-store(7), prvng-plugin-loader(7), "
                              "prvng-plugin-template(7), prvng-plugin-secret(7)")]
with open(output, "w", encoding="utf-8") as f:
    f.write("\n".join(page) + "\n")
