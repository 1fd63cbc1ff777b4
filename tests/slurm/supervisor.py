"""``python supervisor.py NAME=FOLDER``: ends a test cluster when its test run ends.

Daemons, jobs and drivers of the cluster carry this variable in their environment. Standard input
ends when the test run closes it, crashes or is killed; then they are killed by pid, and what is
mounted in the folder is unmounted.
"""

import os
import signal
import subprocess
import sys
import time


def members(mark: bytes) -> list[int]:
    """Process ids of the processes that carry a variable, without this one."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:  # ended meanwhile, or of somebody else
                continue
    return found


def main() -> None:
    """Wait for the end of standard input; then kill until none is left, and unmount."""
    mark = sys.argv[1]
    sys.stdin.read()
    while pids := members(mark.encode()):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.2)
    folder = mark.split("=", 1)[1]
    with open("/proc/self/mounts", encoding="utf-8") as file:
        places = [line.split()[1] for line in file]
    for place in places:
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", place], check=True)


if __name__ == "__main__":
    main()
