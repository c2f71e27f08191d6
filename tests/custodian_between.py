#!/usr/bin/python3
"""custodian_between.py LISTEN CUSTODIAN FLAG LEVEL: stands between a custodian and its clients. While the file FLAG is there, it makes the custodian look like
one of a machine that has LEVEL: keys asked for at that level are made at level keyring, and told of as of that. Else every record passes as it is."""
import os, socket, sys, threading

GENERATE, LOAD, LEVEL = 0, 1, 8  # enum custody_op
LEVELS = {"kernel": 1, "token": 2}  # enum ks_protection
KEYRING = 3
OPERATION, PROTECTION = 3, 14  # custody_proto.h
listen, custodian, flag = sys.argv[1:4]
named = LEVELS[sys.argv[4]]


def altered(record, operations, was, now):
    record = bytearray(record)
    if os.path.exists(flag) and record[OPERATION] in operations and record[PROTECTION] == was:
        record[PROTECTION] = now
    return bytes(record)


def serve(client):
    with client, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as real:
        try:
            real.connect(custodian)
            while request := client.recv(1 << 18):
                real.send(altered(request, (GENERATE, LEVEL), named, KEYRING))
                reply = real.recv(1 << 18)
                if not reply:
                    return
                client.send(altered(reply, (LOAD,), KEYRING, named))
        except OSError as e:
            print(e, flush=True)


if os.path.exists(listen):
    os.unlink(listen)
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.bind(listen)
server.listen(64)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
