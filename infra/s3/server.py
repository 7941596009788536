#!/usr/bin/python3
"""The object store of a development stack: OpenStack Swift with its S3 API (Debian's python3-swift), on loopback, as an ordinary user.

    server.py DIRECTORY PORT init                                  writes configuration, rings and the data directory; may be repeated
    server.py DIRECTORY PORT proxy|account|container|object        runs one of the four servers in the foreground; SIGTERM ends it

The S3 API answers on PORT, the three servers behind it on PORT + 1 to 3. `init` takes S3_ACCESS_KEY (`account:user`) and S3_SECRET_KEY from
the environment. It needs Debian's own Python, which has the package, and a file system with extended attributes.
"""

import os
import pathlib
import pwd
import secrets
import sys

sys.dont_write_bytecode = True
# For memory_cache, which Swift's proxy loads by name.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from swift.common import utils, wsgi  # noqa: E402

BACKENDS = {"object": 1, "container": 2, "account": 3}

COMMON = """\
[DEFAULT]
user = {user}
swift_dir = {etc}
devices = {root}/data
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
log_address = {root}/no-syslog
log_level = WARNING
max_clients = 256
"""
BACKEND = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
log_requests = false
"""
PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = false
object_post_as_copy = false
node_timeout = 30
recoverable_node_timeout = 10
conn_timeout = 2
error_suppression_limit = 1000000
error_suppression_interval = 1
client_chunk_size = 1048576
object_chunk_size = 1048576
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{name} = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
[filter:cache]
paste.filter_factory = memory_cache:filter_factory
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""


def write(path: pathlib.Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def init(root: pathlib.Path, port: int) -> None:
    etc, device = root / "etc", root / "data" / "d1"
    etc.mkdir(mode=0o700, parents=True, exist_ok=True)
    device.mkdir(parents=True, exist_ok=True)
    # Swift keeps an object's metadata there: fail here and not at the first upload.
    os.setxattr(device, "user.probe", b"x" * 1000)
    os.removexattr(device, "user.probe")
    if not (etc / "swift.conf").exists():
        # What is stored is found by this suffix: it never changes.
        suffix = secrets.token_hex(16)
        write(etc / "swift.conf", f"[swift-hash]\nswift_hash_path_suffix = {suffix}\n[storage-policy:0]\nname = default\ndefault = yes\n")
    # Swift reads /etc/swift/swift.conf otherwise, whatever `swift_dir` says.
    utils.set_swift_dir(str(etc))
    from swift.common.ring import RingBuilder

    common = {"user": pwd.getpwuid(os.geteuid()).pw_name, "root": root, "etc": etc}
    account, name = os.environ["S3_ACCESS_KEY"].split(":")
    credentials = {"account": account, "name": name, "secret": os.environ["S3_SECRET_KEY"]}
    write(etc / "proxy.conf", COMMON.format(port=port, **common) + PROXY.format(**credentials))
    for server, offset in BACKENDS.items():
        write(etc / f"{server}.conf", COMMON.format(port=port + offset, **common) + BACKEND.format(name=server))
        builder = RingBuilder(6, 1, 0)
        place = {"ip": "127.0.0.1", "port": port + offset, "replication_ip": "127.0.0.1", "replication_port": port + offset}
        builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, "device": "d1"} | place)
        builder.rebalance(seed="one device")
        builder.get_ring().save(str(etc / f"{server}.ring.gz"))


def serve(root: pathlib.Path, server: str) -> int:
    etc = root / "etc"
    utils.set_swift_dir(str(etc))
    options = {}
    if server == "object":
        from swift.obj.server import global_conf_callback

        options["global_conf_callback"] = global_conf_callback
    return wsgi.run_wsgi(str(etc / f"{server}.conf"), f"{server}-server", verbose=True, **options)


if __name__ == "__main__":
    directory, port_of_proxy, command = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3]
    if command == "init":
        init(directory, port_of_proxy)
    else:
        sys.exit(serve(directory, command))
