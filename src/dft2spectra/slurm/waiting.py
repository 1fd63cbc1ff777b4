"""Jobs that are submitted later: when, and what for they wait."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

# Pauses after refusals one after another. [s]
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 120.0


@dataclass
class Place:
    """Where a job stands: what it waits for, the door it waits at, and until when at least."""

    why: str
    door: str
    due: float


class Waiting:
    """Jobs in the order of their coming.

    After a refusal all jobs at the same door (a partition) wait, longer each time; then one of them
    tries, so that a scheduler in trouble is not asked a hundred times. When one is let in, the door
    is open.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[object, Place] = {}
        # Until when, how long the last pause was, and why.
        self._closed: dict[str, tuple[float, float, str]] = {}

    def put(self, job: object, why: str, door: str = "", pause_s: float = 0.0) -> None:
        """Let a job wait for its own reason, for a time, or until its door opens."""
        with self._lock:
            self._places[job] = Place(why, door, self._clock() + pause_s)

    def refuse(self, job: object, why: str, door: str) -> float:
        """Let a job wait and close its door for a while; how long. [s]"""
        with self._lock:
            before_s = self._closed[door][1] if door in self._closed else SHORTEST_PAUSE_S / 2
            pause_s = min(2 * before_s, LONGEST_PAUSE_S)
            self._closed[door] = (self._clock() + pause_s, pause_s, why)
            self._places[job] = Place(why, door, self._clock())
            return pause_s

    def joins(self, job: object, door: str) -> bool:
        """Let a job that comes to a closed door wait there; whether it has to."""
        with self._lock:
            if door not in self._closed:
                return False
            self._places[job] = Place(self._closed[door][2], door, self._clock())
            return True

    def let_in(self, door: str) -> None:
        """A job was submitted: the door is open."""
        with self._lock:
            self._closed.pop(door, None)

    def knock(self) -> None:
        """Something has changed, such as the end of a job: all doors may be tried now."""
        with self._lock:
            now = self._clock()
            for door, (until, pause_s, why) in self._closed.items():
                self._closed[door] = (min(until, now), pause_s, why)

    def take(self) -> list[object]:
        """Take out the jobs whose time has come: all at an open door, one at a door to be tried."""
        with self._lock:
            now, taken = self._clock(), []
            for job, place in list(self._places.items()):
                if now < place.due:
                    continue
                if place.door in self._closed:
                    until, pause_s, why = self._closed[place.door]
                    if now < until:
                        continue
                    # Closed again behind the one that tries, until it is let in or refused.
                    self._closed[place.door] = (now + pause_s, pause_s, why)
                taken.append(job)
                del self._places[job]
            return taken

    def take_all(self) -> list[object]:
        """Take out all jobs, whatever they wait for."""
        with self._lock:
            taken = list(self._places)
            self._places.clear()
            return taken

    def reasons(self) -> Counter[str]:
        """How many jobs wait for what."""
        with self._lock:
            return Counter(place.why for place in self._places.values())
