"""moto's server, one request at a time: moto_serial.py FLAG...

moto looks whether an object is there and writes it in two steps, so on a busy machine two of several racing
writers win now and then. S3 itself lets one win.
"""

import threading

from moto import server

LOCK = threading.Lock()


class Serial(server.DomainDispatcherApplication):
    def __call__(self, *args: object) -> list[bytes]:
        with LOCK:
            return list(super().__call__(*args))


if __name__ == "__main__":
    server.DomainDispatcherApplication = Serial
    server.main()
