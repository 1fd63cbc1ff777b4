"""``python fake_programs.py FOLDER PROGRAM ARGUMENTS``: SLURM's programs, as a test orders them.

A job is a file ``jobs/<number>.json`` in the folder. It runs at once, beside the test, and is what
``work`` says in the place of its command: a shell command that gets the comment of the job as its
first argument. ``orders/<program>`` holds answers, one JSON object a line, each for one call:
``code``, ``out``, ``err``, and for ``sbatch`` whether the job is taken (``take``).
"""

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

NODES = ("n1", "n2", "n3")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "PREEMPTED", "NODE_FAIL", "TIMEOUT")


def next_order(folder: Path, program: str) -> dict[str, Any]:
    """The answer that is ordered for this call, taken off the list; empty if none is."""
    path = folder / "orders" / program
    if not path.exists():
        return {}
    with open(path, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = file.read().splitlines()
        file.seek(0)
        file.truncate()
        file.write("".join(f"{line}\n" for line in lines[1:]))
    return json.loads(lines[0]) if lines else {}


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """All jobs, in order."""
    paths = sorted(folder.glob("jobs/[0-9]*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text("utf-8")) for path in paths]


def write_job(folder: Path, job: dict[str, Any]) -> None:
    """Write a job whole."""
    path = folder / "jobs" / f"{job['id']}.json"
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(job), "utf-8")
    part.rename(path)


def option(arguments: list[str], *names: str) -> str:
    """Value of an option, the last one if it is given twice; empty if it is not there."""
    found = ""
    for number, word in enumerate(arguments):
        for name in names:
            if word == name:
                found = arguments[number + 1]
            elif word.startswith(f"{name}="):
                found = word.partition("=")[2]
    return found


def sbatch(folder: Path, arguments: list[str], order: dict[str, Any]) -> int:
    """Take a job and start it, unless ordered otherwise."""
    # One at a time, so that the orders meet the jobs that they are for.
    with open(folder / "jobs" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        number = 100 + len(list(folder.glob("jobs/[0-9]*.json")))
        if order.get("take", order.get("code", 0) == 0):
            excluded = option(arguments, "--exclude").split(",")
            node = next((name for name in NODES if name not in excluded), "")
            job = {
                "id": str(number),
                "state": "RUNNING",
                "reason": "None",
                "node": node,
                "name": option(arguments, "--job-name"),
                "comment": option(arguments, "--comment"),
                "folder": option(arguments, "-D"),
                "minutes": option(arguments, "-t"),
                "memory": option(arguments, "--mem"),
                "excluded": [name for name in excluded if name],
                "arguments": arguments,
            } | order.get("job", {})
            write_job(folder, job)
            if job["state"] == "RUNNING":
                start(folder, job)
    print(order.get("out", "{id}").format(id=number))
    print(order.get("err", ""), end="", file=sys.stderr)
    return order.get("code", 0)


def start(folder: Path, job: dict[str, Any]) -> None:
    """Run a job beside this process."""
    subprocess.Popen(
        [sys.executable, __file__, str(folder), "run", job["id"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def run(folder: Path, arguments: list[str], order: dict[str, Any]) -> int:
    """The work of a job: its script, with what the test wants done in the place of its command."""
    path = folder / "jobs" / f"{arguments[0]}.json"
    job = json.loads(path.read_text("utf-8"))
    log = option(job["arguments"], "--output").replace("%j", job["id"])
    script = option(job["arguments"], "--wrap").splitlines()
    work = f"sh {shlex.quote(str(folder / 'work'))} {shlex.quote(job['comment'])}"
    if (folder / f"bad-{job['node']}").exists():
        work = "no-such-python -m snakemake"
    # The plugin alone gives its jobs but one line.
    script[1 if len(script) > 1 else 0] = work
    with open(log, "ab") as output:
        process = subprocess.Popen(
            ["sh", "-c", "\n".join(script)],
            cwd=job["folder"],
            env={**os.environ, "SLURM_JOB_ID": job["id"], "SLURMD_NODENAME": job["node"]},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        write_job(folder, job | {"pid": process.pid})
        code = process.wait()
    now = json.loads(path.read_text("utf-8"))
    if now["state"] == "RUNNING":
        write_job(folder, now | {"state": "FAILED" if code else "COMPLETED"})
    return 0


def squeue(folder: Path, arguments: list[str], order: dict[str, Any]) -> int:
    """The jobs of a name, ended ones only if all states are asked for and SLURM remembers."""
    name, layout = option(arguments, "--name"), option(arguments, "--format")
    all_states = "--states=all" in arguments and not (folder / "forgets").exists()
    print(order.get("out", ""), end="")
    for job in read_jobs(folder):
        if (name and job["name"] != name) or (job["state"] in ENDED and not all_states):
            continue
        values = {"i": job["id"], "T": job["state"], "r": job["reason"], "N": job["node"]}
        values |= {"M": "0:10", "j": job["name"], "k": job["comment"], "Z": job["folder"]}
        print("".join(values.get(part, part) for part in re.split("%([a-zA-Z])", layout)))
    return 0


def scancel(folder: Path, arguments: list[str], order: dict[str, Any]) -> int:
    """Cancel jobs by number or name."""
    name = option(arguments, "--name")
    for job in read_jobs(folder):
        if job["state"] not in ENDED and (job["name"] == name or job["id"] in arguments):
            write_job(folder, job | {"state": "CANCELLED"})
            if job.get("pid"):
                os.killpg(job["pid"], signal.SIGKILL)
    return 0


def sinfo(folder: Path, arguments: list[str], order: dict[str, Any]) -> int:
    """One partition of an hour with three nodes."""
    if "--Node" in arguments:
        print(*NODES, sep="\n")
    else:
        print("short*|1:00:00|4000|4")
    return 0


def scontrol(folder: Path, arguments: list[str], order: dict[str, Any]) -> int:
    """The configuration, as far as somebody asks for it."""
    accounts = "slurmdbd" if (folder / "accounts").exists() else "none"
    print(f"AccountingStorageType   = accounting_storage/{accounts}")
    print("MinJobAge               = 300 sec")
    return 0


def sacct(folder: Path, arguments: list[str], order: dict[str, Any]) -> int:
    """The accounts, if there are any."""
    if not (folder / "accounts").exists():
        print("Slurm accounting storage is disabled", file=sys.stderr)
        return 1
    for job in read_jobs(folder):
        if job["name"] == option(arguments, "--name"):
            state = "CANCELLED by 0" if job["state"] == "CANCELLED" else job["state"]
            print(job["id"], state, job["node"], sep="|")
    return 0


def main() -> int:
    """Answer as ordered, and note the call."""
    folder, program, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    with open(folder / "calls", "a", encoding="utf-8") as file:
        file.write(json.dumps([program, *arguments]) + "\n")
    order = next_order(folder, program)
    if program != "sbatch" and order.get("code"):
        print(order.get("err", ""), file=sys.stderr)
        return order["code"]
    return globals()[program](folder, arguments, order)


if __name__ == "__main__":
    sys.exit(main())
