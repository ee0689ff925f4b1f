"""Runs a command and measures it: wall seconds, CPU seconds, peak resident bytes, peak bytes of temporary files."""

import os
import platform
import select
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

# How often a command under watch is looked at, in seconds.
TICK_S = 0.1


class Figures(NamedTuple):
    begun_s: float  # of the monotonic clock, which all processes share
    ended_s: float
    cpu_s: float
    peak_bytes: int
    temp_bytes: int
    curve: list  # of resident bytes, a look each tick

    @property
    def wall_s(self):
        return self.ended_s - self.begun_s


class Failed(Exception):
    """Why a command gave nothing."""


def watch(command, temp=None, cap_bytes=None, timeout_s=None):
    """Runs a command; gives its stdout and figures. It is ended when it takes more memory or time than it may.

    `temp` is the folder for its temporary files: their sizes are seen by looking again and again, those of files that
    have no name any more as well.
    """
    environment = dict(os.environ, TMPDIR=temp) if temp else None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Nothing is written to the pipe: that it closes says that the process has ended.
        end, held = os.pipe()
        begun_s = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, pass_fds=[held])
        os.close(held)
        temp_bytes, reason, curve = 0, None, []
        while not select.select([end], [], [], TICK_S)[0]:
            temp_bytes = max(temp_bytes, _temp_bytes(process.pid, temp)) if temp else 0
            curve.append(_resident_bytes(process.pid))
            if timeout_s and time.monotonic() - begun_s > timeout_s:
                reason = f"ended after {timeout_s:,} s"
            elif cap_bytes and curve[-1] > cap_bytes:
                reason = f"ended at {cap_bytes / 1e9:.1f} GB of memory"
            if reason:
                process.kill()
                break
        os.close(end)
        _, status, usage = os.wait4(process.pid, 0)
        ended_s = time.monotonic()
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        text, said = out.read(), err.read().decode(errors="replace").strip()
    if reason or process.returncode != 0:
        sys.stderr.write(said + "\n" if said else "")
        raise Failed(reason or (said.splitlines() or [f"exit code {process.returncode}"])[-1])
    # macOS counts bytes, Linux kilobytes.
    unit = 1 if platform.system() == "Darwin" else 1024
    cpu_s = usage.ru_utime + usage.ru_stime
    return text, Figures(begun_s, ended_s, cpu_s, usage.ru_maxrss * unit, temp_bytes, curve)


def run(command):
    """Runs a command that must not fail; gives its stdout and figures."""
    try:
        return watch(command)
    except Failed as reason:
        sys.exit(f"{' '.join(command)} failed: {reason}")


def folder_bytes(folder, size=lambda stat: stat.st_size):
    """The sizes of all files below a folder."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += size(os.stat(os.path.join(path, name), follow_symlinks=False))
            except FileNotFoundError:
                pass
    return total


def _temp_bytes(pid, temp):
    total = folder_bytes(temp, lambda stat: stat.st_blocks * 512)
    for descriptor in _entries(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(descriptor)
            if target.startswith(temp) and target.endswith(" (deleted)"):
                total += os.stat(descriptor).st_blocks * 512
        except OSError:
            pass
    return total


def _entries(folder):
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError:
        return []


def _resident_bytes(pid):
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        # Not Linux, or it has ended.
        return 0


def memory_bytes():
    """What the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def machine():
    """The machine and how busy it is, in words."""
    memory_gb = memory_bytes() / 1e9
    return f"{platform.machine()}, {os.cpu_count()} cores, {memory_gb:.0f} GB of memory, load {os.getloadavg()[0]:.1f}"
