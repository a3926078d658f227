"""What fastdfs-client from PyPI can do, done once: called by main.rs with the tracker's port.

It reads answers with wide addresses only. Every assertion compares with bytes of its own making.
It ends with status 0 and a last line that main.rs waits for, or with the traceback of what went
wrong. Of what the library offers, metadata, appenders and slaves fail inside of it: it packs
text where Python 3 wants bytes.
"""

import sys
from pathlib import Path

from fastdfs_client import FastdfsClient
from fastdfs_client.exceptions import DataError

port, directory = int(sys.argv[1]), Path(sys.argv[2])
client = FastdfsClient(
    {"host_tuple": ("127.0.0.1",), "port": port, "timeout": 30, "name": "tracker"}
)
content = bytes(n * 13 % 251 for n in range(300_001))


def stored(file_id, offset=0, count=0):
    return client.download_to_buffer(file_id, offset, count)["Content"]


def refused(function, *args):
    try:
        function(*args)
    except DataError as error:
        assert "No such file" in str(error), error
    else:
        raise AssertionError(f"{function.__name__} was not refused")


local = directory / "photo.jpg"
local.write_bytes(content)
photo = client.upload_by_filename(str(local))["Remote file_id"]
assert photo.startswith("group1/M00/") and photo.endswith(".jpg"), photo
assert stored(photo) == content
assert stored(photo, 1000, 5000) == content[1000:6000]
note = client.upload_by_buffer(b"a note", "txt")["Remote file_id"]
assert stored(note) == b"a note"
# Of a longer file it loses count where a read gives less than it asked for, and waits for ever.
back = directory / "back"
client.download_to_file(str(back), note)
assert back.read_bytes() == b"a note"

for file_id in (photo, note):
    client.delete_file(file_id)
    refused(client.download_to_buffer, file_id)
    refused(client.delete_file, file_id)

print("all done")
