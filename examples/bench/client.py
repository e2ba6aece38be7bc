"""Random search over lines of JSON: archgym bench run "python client.py" --task TASK --out FOLDER.

`python client.py TASK BUDGET` serves the task itself.
"""

import json
import os
import random
import subprocess
import sys

server = None
answers, asks = sys.stdin, sys.stdout
if len(sys.argv) > 2:
    server = subprocess.Popen(
        ["archgym", "bench", "serve", sys.argv[1], "--budget", sys.argv[2], *sys.argv[3:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    answers, asks = server.stdout, server.stdin
description = json.loads(answers.readline())
rng = random.Random(int(os.environ.get("ARCHGYM_SEED", "0")))
left = description["budget"] - description["evaluations"]
while left:
    indices = [rng.randrange(size) for size in description["sizes"]]
    asks.write(json.dumps({"indices": indices}) + "\n")
    asks.flush()
    left = json.loads(answers.readline())["left"]
end = json.loads(answers.readline())
print(json.dumps(end["best"]), file=sys.stderr if server is None else sys.stdout)
if server is not None:
    asks.close()
    sys.exit(server.wait())
