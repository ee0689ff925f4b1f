"""Runs a program at a terminal of its own and types an answer once it is asked.

terminal.py ANSWER PROGRAM ARGUMENT...     prints what the program showed, and ends as it did
"""

import os
import pty
import sys

PROMPT = b"): "


def main():
    answer, program = sys.argv[1], sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(program[0], program)
    shown, typed = b"", False
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            break
        if not read:
            break
        shown += read
        if not typed and shown.endswith(PROMPT):
            os.write(terminal, answer.encode() + b"\n")
            typed = True
    sys.stdout.buffer.write(shown)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
