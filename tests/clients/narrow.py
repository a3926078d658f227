"""What fdfs-client-py3 from PyPI can do, done once: called by main.rs with the tracker's port.

Every assertion compares with bytes of its own making. It ends with status 0 and a last line
that main.rs waits for, or with the traceback of what went wrong. Of what the library offers,
parts of a file and reading metadata fail inside of it, before anything is sent. Slaves and
writing metadata do so too, by one mistake: it gives text to `struct.pack`, which wants bytes.
That mistake is shown, then mended from outside, and all the rest of these two flows is the
library's own.
"""

import struct
import sys
import types
from pathlib import Path

from fdfs_client import storage_client
from fdfs_client.client import Fdfs_client
from fdfs_client.exceptions import DataError

port, directory = int(sys.argv[1]), Path(sys.argv[2])
configuration = directory / "client.conf"
configuration.write_text(f"connect_timeout=30\ntracker_server=127.0.0.1:{port}\n")
client = Fdfs_client(str(configuration))
content = bytes(n * 7 % 251 for n in range(300_001))


def name(answer):
    """The file id in an answer, as the other calls take it."""
    return answer["Remote file_id"].encode()


def stored(file_id):
    return client.download_to_buffer(file_id)["Content"]


def refused(words, function, *args):
    try:
        function(*args)
    except DataError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"{function.__name__} was not refused")


# A normal file: from a file and from memory, to a file and to memory.
local = directory / "photo.jpg"
local.write_bytes(content)
photo = name(client.upload_by_filename(str(local)))
assert photo.startswith(b"group1/M00/") and photo.endswith(b".jpg"), photo
assert stored(photo) == content
note = name(client.upload_by_buffer(b"a note", "txt"))
assert stored(note) == b"a note"
# Of a longer file it loses count where a read gives less than it asked for, and waits for ever.
back = directory / "back"
client.download_to_file(str(back), note)
assert back.read_bytes() == b"a note"

# An appender grows, is changed and cut; the library changes nothing but the beginning.
log = name(client.upload_appender_by_buffer(b"0123456789", "log"))
client.append_by_buffer(b"abcdef", log)
client.append_by_filename(str(local), log)
assert stored(log) == b"0123456789abcdef" + content
client.modify_by_buffer(b"XYZ", log)
client.truncate_file(12, log)
assert stored(log) == b"XYZ3456789ab"
refused("Invalid argument", client.append_by_buffer, b"more", photo)

# A slave, and metadata: as the library is, and with its one mistake mended.
small = directory / "small.jpg"
small.write_bytes(content[:5000])
slave_of_photo = (str(small), photo, "_small")
for function, args in (
    (client.upload_slave_by_filename, slave_of_photo),
    (client.set_meta_data, (note, {"colour": "blue"})),
):
    try:
        function(*args)
    except struct.error:
        pass
    else:
        raise AssertionError(f"{function.__name__} works by itself: mend it no longer")


def pack(layout, *values):
    return struct.pack(layout, *(v.encode() if isinstance(v, str) else v for v in values))


storage_client.struct = types.SimpleNamespace(**{**vars(struct), "pack": pack})
slave = name(client.upload_slave_by_filename(*slave_of_photo))
assert slave == photo.removesuffix(b".jpg") + b"_small.jpg", slave
assert stored(slave) == content[:5000]
refused("File exists", client.upload_slave_by_filename, *slave_of_photo)
assert "success" in client.set_meta_data(note, {"colour": "blue"})["Status"]
client.delete_file(slave)
refused("No such file", client.download_to_buffer, slave)
assert stored(photo) == content, "its master is still there"

# What is deleted is gone.
for file_id in (photo, note, log):
    client.delete_file(file_id)
    refused("No such file", client.download_to_buffer, file_id)
    refused("No such file", client.delete_file, file_id)

print("all done")
