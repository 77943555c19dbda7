#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kvrail-cni VERSION, whole process, against an empty static C program."""
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from rows import BUILD, row

ROUNDS = 600

# A parent of its own: what exec() leaves of a Python's pages would count as the child's.
MEASURE = r"""
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>
int main(int argc, char **argv) {
	struct rusage u;
	if (fork() == 0) { dup2(open("/dev/null", O_WRONLY), 1); execv(argv[1], argv + 1); _exit(127); }
	wait4(-1, 0, 0, &u);
	printf("%ld\n", u.ru_maxrss);
	return 0;
}
"""


def compile_static(folder, name, text):
    out = pathlib.Path(folder) / name
    subprocess.run(["cc", "-O2", "-static", "-x", "c", "-o", out, "-"], input=text, text=True, check=True)
    return str(out)


def once(program, env):
    start = time.perf_counter()
    pid = os.posix_spawn(program, [program], env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    os.waitpid(pid, 0)
    return (time.perf_counter() - start) * 1e6


def main():
    shim = str(BUILD / "kvrail-cni")
    env = {"CNI_COMMAND": "VERSION"}
    with tempfile.TemporaryDirectory() as folder:
        empty = compile_static(folder, "empty", "int main(void) { return 0; }")
        measure = compile_static(folder, "measure", MEASURE)
        times = {empty: [], shim: []}
        for _ in range(ROUNDS):  # in turns: what else the machine does hits both
            for program in times:
                times[program].append(once(program, env))
        median = {p: statistics.median(t) for p, t in times.items()}
        rss = int(subprocess.run([measure, shim], env=env, capture_output=True, text=True, check=True).stdout)
    ratio = median[shim] / median[empty]
    row("kvrail-cni VERSION, whole process, against an empty static program",
        f"{ratio:.2f}x ({median[shim]:.0f} / {median[empty]:.0f} us)", "<= 1.5x", ratio <= 1.5)
    row("its resident memory", f"{rss} KiB", "< 1 MiB", rss < 1024)


main()
