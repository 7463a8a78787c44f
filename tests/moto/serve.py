"""A simulated AWS on a free port of the loopback, for as long as standard input stays open.

Prints one line, the port, once it answers. Its end is tied to its parent's: when the parent is gone, however it went,
the pipe closes and so does the server.
"""

import logging
import os
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)

server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.buffer.read()
# Not sys.exit: a request that hangs must not keep it alive.
os._exit(0)
