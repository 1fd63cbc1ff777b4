"""The states of a job in SLURM's manual and what follows from each; why a job may wait for ever."""

from enum import Enum


class Outcome(Enum):
    """What a state means for the one who waits."""

    WAITS = "is waited for"
    FINISHED = "is done"
    FAILED = "is tried again, with more memory and time; counts as an attempt"
    LOST = "is tried again on another node; counts as an attempt if the job had begun its work"
    AGAIN = "is submitted again as it was; does not count"


# States by the manual pages of squeue and sacct (22.05 to 25.05), and what happens.
OUTCOMES = {
    "COMPLETED": Outcome.FINISHED,
    "FAILED": Outcome.FAILED,
    "OUT_OF_MEMORY": Outcome.FAILED,
    "TIMEOUT": Outcome.FAILED,
    "DEADLINE": Outcome.FAILED,
    "CANCELLED": Outcome.FAILED,
    "NODE_FAIL": Outcome.LOST,
    "BOOT_FAIL": Outcome.LOST,
    "LAUNCH_FAILED": Outcome.LOST,
    "RECONFIG_FAIL": Outcome.LOST,
    "PREEMPTED": Outcome.AGAIN,
    "PENDING": Outcome.WAITS,
    "CONFIGURING": Outcome.WAITS,
    "POWER_UP_NODE": Outcome.WAITS,
    "RUNNING": Outcome.WAITS,
    "COMPLETING": Outcome.WAITS,
    "STAGE_OUT": Outcome.WAITS,
    "SIGNALING": Outcome.WAITS,
    "RESIZING": Outcome.WAITS,
    "SUSPENDED": Outcome.WAITS,
    "STOPPED": Outcome.WAITS,
    "REQUEUED": Outcome.WAITS,
    "REQUEUE_FED": Outcome.WAITS,
    "REQUEUE_HOLD": Outcome.WAITS,
    "RESV_DEL_HOLD": Outcome.WAITS,
    "SPECIAL_EXIT": Outcome.WAITS,
    "REVOKED": Outcome.WAITS,
    "UPDATE_DB": Outcome.WAITS,
    "EXPEDITING": Outcome.WAITS,
}

# Beginnings of reasons for which a pending job does not start by itself, and what that means.
# "Resources", "Priority", limits that others use up and the like pass.
STUCK = {
    "PartitionTimeLimit": "asks for more time than its partition allows",
    "PartitionNodeLimit": "asks for more nodes than its partition allows",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is inactive",
    "BadConstraints": "asks for what no node has",
    "ReqNodeNotAvail": "the nodes that it asks for are down, drained or reserved",
    "JobHeldAdmin": "held by an administrator",
    "JobHeldUser": "held; scontrol release lets it go",
    "launch failed requeued held": "could not be started, and is held; scontrol release lets it go",
    "launch_failed_requeued_held": "could not be started, and is held; scontrol release lets it go",
    "job_requeued_in_held_state": "held after it was put back; scontrol release lets it go",
    "DependencyNeverSatisfied": "depends on a job that failed",
    "InvalidAccount": "its account is gone",
    "InvalidQOS": "its QOS is gone",
    "AccountNotAllowed": "its account may not use the partition",
    "QOSNotAllowed": "its QOS may not use the partition",
    "AssocMaxWallDurationPerJobLimit": "asks for more time than its account allows",
    "QOSMaxWallDurationPerJobLimit": "asks for more time than its QOS allows",
    "AssocMaxCpuPerJobLimit": "asks for more cores than its account allows",
    "QOSMaxCpuPerJobLimit": "asks for more cores than its QOS allows",
    "AssocMaxMemPerJob": "asks for more memory than its account allows",
    "QOSMaxMemoryPerJob": "asks for more memory than its QOS allows",
    "Reservation": "its reservation has not begun, or is over",
}


def outcome(state: str) -> Outcome:
    """What follows from a state; one that this table does not know is waited for."""
    return OUTCOMES.get(state, Outcome.WAITS)


def why_pending(reason: str) -> str:
    """The reason of a pending job, with what it means if the job does not start by itself."""
    plain = reason.strip("()")
    for beginning, meaning in STUCK.items():
        if plain.startswith(beginning):
            return f"{plain}: {meaning}"
    return plain
