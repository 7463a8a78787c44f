"""Hands on `tests/recipes/conductor.py`: its time and its turns come as lines on standard input, each answered by one that
begins with `done`. What callbacks are is said in lines between.

    python3 hands.py FOLDER_OF_THE_RECIPE DATABASE
    at SECONDS | work | task INSTANCE ACTION STATE | unplace
"""
import os, sys

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import conductor

now = 0.0
mirror = conductor.Mirror(sys.argv[2], os.environ, lambda: now)
print(f"listens on {conductor.listen(mirror, 0).server_port}", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    said = []
    if word == "at":
        now = float(rest[0])
    elif word == "work":
        said = mirror.work()
    elif word == "task":
        mirror.task(*rest)
    elif word == "unplace":
        with mirror.lock, mirror.db:
            mirror.unplace()
    print("; ".join(["done", *said]), flush=True)
