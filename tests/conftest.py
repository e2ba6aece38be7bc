"""What every test starts from."""

import os
import signal

# A shell starts its background jobs with SIGINT ignored, which this process and its children would
# inherit; tests that send it need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Ray reads the mode once in a process, and its clusters ask for a token by default: whichever test
# starts Ray first, all that follow in its process must find the same mode.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
