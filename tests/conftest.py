"""What every test starts from."""

import signal

# A shell starts its background jobs with SIGINT ignored, which this process and its children would
# inherit; tests that send it need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)
