"""Random search on a task of the benchmark over lines of JSON: python client.py TASK BUDGET."""

import json
import random
import subprocess
import sys

task, budget = sys.argv[1], sys.argv[2]
server = subprocess.Popen(
    ["archgym", "bench", "serve", task, "--budget", budget, *sys.argv[3:]],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
)
assert server.stdin is not None
assert server.stdout is not None
description = json.loads(server.stdout.readline())
rng = random.Random(0)
while True:
    indices = [rng.randrange(size) for size in description["sizes"]]
    server.stdin.write(json.dumps({"indices": indices}) + "\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    if "end" in answer:
        print(json.dumps(answer["best"]))
        break
server.stdin.close()
sys.exit(server.wait())
