"""Debian's AWS CLI, loaded once: each call does what /usr/bin/aws does after its imports, in this process.

Loading takes it more than a second; a transcript has dozens of calls. A call is a folder, named in a line of the
FIFO given as the only argument: `args` in it (each ended by NUL), and `code` (a FIFO) for the exit code. What the
call prints goes to `out` and `err` there. Every call has a session of its own; nothing is kept but the code.
"""
import os
import sys

import awscli.clidriver


def serve(call):
    for fd, name in ((1, "out"), (2, "err")):
        to = os.open(os.path.join(call, name), os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(to, fd)
        os.close(to)
    with open(os.path.join(call, "args")) as words:
        sys.argv = ["aws", *words.read().split("\0")[:-1]]
    try:
        return awscli.clidriver.main()
    except SystemExit as end:
        return end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


# For reading and writing: between two calls nobody else holds it open, and that is no end.
with open(os.open(sys.argv[1], os.O_RDWR)) as calls:
    while True:
        folder = calls.readline().strip()
        code = serve(folder)
        with open(os.path.join(folder, "code"), "w") as answer:
            answer.write(f"{code}\n")
