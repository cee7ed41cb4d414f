#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Keep a connection to a web server, and make a request on it for each line of standard input.

hold.py ADDRESS PORT [FROM-PORT]
prints what is answered, or "broken" and the error's name: one line for each request. The
connection is made at once, and used for the first time when the first line is read. The line "end"
ends it.
"""
import errno
import http.client
import sys


def ask(conn):
    try:
        conn.request("GET", "/")
        return conn.getresponse().read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        number = getattr(error, "errno", None)
        return "broken " + errno.errorcode.get(number, type(error).__name__)


def main():
    source = ("", int(sys.argv[3])) if sys.argv[3:] else None
    conn = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), 3, source)
    conn.connect()
    # Another connection would be another test.
    conn.auto_open = 0
    print("connected", flush=True)
    for line in sys.stdin:
        if line == "end\n":
            break
        print(ask(conn), flush=True)


main()
