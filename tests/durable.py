#!/usr/bin/python3
"""durable.py TRACE FOLDER PATTERN...: does every file below FOLDER that TRACE (strace -f -y) writes come by write, fsync, rename, fsync of
its folder, so that a power cut leaves old or new? A process that has renamed tells nobody and renames nothing more before the folder is synced.
Each PATTERN must have come at least once. Prints what is wrong; status 1 then."""
import fnmatch, os, re, sys

STRING = r'"((?:[^"\\]|\\.)*)"'
trace, folder, wanted = sys.argv[1], os.path.realpath(sys.argv[2]), sys.argv[3:]
unsynced = set()  # files with bytes that no fsync has covered
own_name = set()  # files that were opened for writing and have not got another name since
pending = {}  # folder: (process, file) of a rename that it has not been synced after
faults = {}  # file: what was wrong about it; a temporary name takes its own with it
come = []


def calls():
    """Each call that succeeded, when it ended: process, name, arguments, result."""
    begun = {}
    for line in open(trace, errors="surrogateescape"):
        pid, text = line.rstrip("\n").split(None, 1)
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = begun.pop(pid) + text[resumed.end():]
        if call := re.match(r"(\w+)\((.*)\) += (\d+.*)", text):
            yield pid, *call.groups()


def descriptor(text):
    got = re.match(r"\d+<([^>]*)>", text)
    return got[1] if got else ""


def paths(arguments):
    """The names among the arguments, each from the folder before it."""
    for base, name in re.findall(r"(?:<([^>]*)>, )?" + STRING, arguments):
        path = os.path.join(base, name)
        if not os.path.isabs(path):
            sys.exit(f"{trace}: whose is {name}?")
        yield os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def inside(path, above=folder):
    return path == above or path.startswith(above + "/")


def fault(file, what):
    faults.setdefault(file, []).append(what)


def waits(pid, doing):
    for place, (who, file) in list(pending.items()):
        if who == pid:
            fault(file, f"its folder is not synced before {doing}")
            del pending[place]


def renamed(pid, old, new):
    waits(pid, "the next rename")
    for file in [file for file in faults if inside(file, old)]:
        del faults[file]
    for file in [file for file in unsynced if inside(file, old)]:
        fault(new, "renamed before it was synced")
        unsynced.remove(file)
        unsynced.add(new + file[len(old):])
    if any(inside(place, old) for place in pending):
        fault(new, "renamed before what lies in it was synced")
    own_name.difference_update([file for file in own_name if inside(file, old)])
    come.append(os.path.relpath(new, folder))
    pending[os.path.dirname(new)] = pid, new


for pid, call, arguments, result in calls():
    if call == "openat" and re.search(r"O_WRONLY|O_RDWR", arguments):
        path = descriptor(result)
        if inside(path):
            unsynced.add(path)
            own_name.add(path)
    elif call.startswith("send") or (call.startswith("write") and descriptor(arguments).startswith(("socket:", "UNIX", "TCP"))):
        waits(pid, "somebody is told")
    elif call in ("write", "pwrite64", "writev", "ftruncate"):
        if inside(descriptor(arguments)):
            unsynced.add(descriptor(arguments))
    elif call in ("fsync", "fdatasync"):
        unsynced.discard(descriptor(arguments))
        pending.pop(descriptor(arguments), None)
    elif call.startswith("rename"):
        old, new = paths(arguments)
        if inside(new):
            renamed(pid, old, new)
    elif call.startswith("unlink"):
        for path in paths(arguments):
            unsynced.discard(path)
            own_name.discard(path)
for _, file in pending.values():
    fault(file, "its folder is not synced")
for file in own_name:
    fault(file, "written under its own name")
for pattern in wanted:
    if not fnmatch.filter(come, pattern):
        fault(pattern, "no such file has come")
for file, whats in faults.items():
    print(f"{file}: {', '.join(whats)}")
print(f"{len(come)} renamed")
sys.exit(bool(faults))
