"""A second reader of sealed backups, written from docs/formats/backup-v1.md.

    python3 test/support/open_backup.py test/vectors/backup/*.json

prints one line for each vector: its name and the verdict, and for what opens the state digest. It needs
Debian's python3-cryptography for AES key wrap and nothing else. It is for tests: it wipes no memory.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import struct
import sys

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding


class Refused(Exception):
    """Carries the verdict."""


def check(condition):
    if not condition:
        raise Refused("DoesNotOpen")


def derive(key, label, context):
    fixed = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", 256)
    return hmac.new(key, fixed, hashlib.sha256).digest()


def part(octets):
    return struct.pack(">I", len(octets)) + octets


def unwrap(key, wrapped):
    check(len(wrapped) >= 24 and len(wrapped) % 8 == 0)
    try:
        return aes_key_unwrap_with_padding(key, wrapped)
    except (InvalidUnwrap, ValueError):
        raise Refused("DoesNotOpen") from None


def sha256(octets):
    return hashlib.sha256(octets).digest()


class Reader:
    def __init__(self, octets):
        self.octets, self.at = octets, 0

    def take(self, length):
        check(self.at + length <= len(self.octets))
        self.at += length
        return self.octets[self.at - length : self.at]

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return struct.unpack(">H", self.take(2))[0]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def left(self):
        return len(self.octets) - self.at

    def end(self):
        check(self.left() == 0)


def utf8(octets):
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("DoesNotOpen") from None


# ---- kinds of value


def number(octets):
    check(len(octets) == 8)
    value = struct.unpack(">Q", octets)[0]
    check(value < 2**53)
    return value


def identifier(octets):
    check(len(octets) == 16)
    return octets.hex()


def text(longest):
    def read(octets):
        check(len(octets) <= longest)
        return utf8(octets)

    return read


def octets_of(shortest, longest):
    def read(octets):
        check(shortest <= len(octets) <= longest)
        return octets

    return read


def choice(*words):
    def read(octets):
        check(len(octets) == 1 and 1 <= octets[0] <= len(words))
        return words[octets[0] - 1]

    return read


def names(octets):
    reader = Reader(octets)
    count = reader.u32()
    check(count <= 4096)
    found = [text(255)(reader.take(reader.u32())) for _ in range(count)]
    reader.end()
    return found


def boolean(octets):
    check(octets in (b"\0", b"\1"))
    return octets == b"\1"


def attributes(octets):
    reader = Reader(octets)
    count = reader.u32()
    check(count <= 256)
    found, previous = {}, -1
    for _ in range(count):
        kind = reader.u32()
        check(kind > previous)
        previous = kind
        sort = reader.u8()
        value = reader.take(reader.u32())
        check(sort in (1, 2, 3))
        name, read = {
            1: ("bool", boolean),
            2: ("ulong", number),
            3: ("bytes", octets_of(0, 2**20)),
        }[sort]
        found[kind] = {"type": name, "value": read(value)}
    reader.end()
    return found


# ---- records: (property, reader, may be absent), tags count from 1

REQUIRED, ABSENT = False, True
PEM = text(65536)
NAME = text(255)
KEY = octets_of(32, 32)
VERIFIER = [
    ("salt", octets_of(0, 64), REQUIRED),
    ("memoryKiB", number, REQUIRED),
    ("passes", number, REQUIRED),
    ("hash", octets_of(0, 64), REQUIRED),
]
MANIFEST = [
    (name, number, REQUIRED)
    for name in (
        "version",
        "generation",
        "nextHandle",
        "auditSequence",
        "users",
        "objects",
        "tombstones",
        "policies",
        "failures",
    )
] + [("localDigest", KEY, REQUIRED)]
PARTITION = [
    ("clusterId", text(64), REQUIRED),
    ("incarnation", identifier, REQUIRED),
    ("type", choice("hsm1.medium", "hsm2m.medium"), REQUIRED),
    ("mode", choice("FIPS", "NON_FIPS"), REQUIRED),
    ("partitionKey", octets_of(0, 16384), REQUIRED),
    ("clusterCsr", PEM, REQUIRED),
    ("hsmCertificate", PEM, REQUIRED),
    ("clusterCertificate", PEM, ABSENT),
    ("trustAnchor", PEM, ABSENT),
    ("maskingKey", KEY, REQUIRED),
]
USER = [
    ("name", NAME, REQUIRED),
    ("role", choice("unactivated-admin", "admin", "crypto-user", "appliance-user"), REQUIRED),
    ("verifier", lambda octets: fields(VERIFIER, octets), ABSENT),
    ("createdGeneration", number, REQUIRED),
    ("passwordGeneration", number, REQUIRED),
]
OBJECT = [
    ("id", identifier, REQUIRED),
    ("handle", number, REQUIRED),
    ("owner", NAME, REQUIRED),
    ("sharedWith", names, REQUIRED),
    ("attributes", attributes, REQUIRED),
    ("createdGeneration", number, REQUIRED),
]
TOMBSTONE = [("id", identifier, REQUIRED), ("generation", number, REQUIRED)]
POLICY = [("name", NAME, REQUIRED), ("value", number, REQUIRED)]
FAILURES = [("name", NAME, REQUIRED), ("count", number, REQUIRED)]


def fields(table, octets):
    reader, record, previous = Reader(octets), {}, 0
    while reader.left():
        tag = reader.u8()
        check(previous < tag <= len(table))
        previous = tag
        name, read, _ = table[tag - 1]
        record[name] = read(reader.take(reader.u32()))
    for name, _, may_be_absent in table:
        check(name in record or may_be_absent)
        record.setdefault(name, None)
    return record


def record(reader, kind, table):
    check(reader.u8() == kind)
    length = reader.u32()
    check(length <= 2**24)
    return fields(table, reader.take(length))


def group(reader, kind, table, key, count, most):
    check(count <= most)
    found, previous = {}, None
    for _ in range(count):
        one = record(reader, kind, table)
        place = one[key].encode()
        check(previous is None or previous < place)
        previous = place
        found[one[key]] = one
    return found


def decode(plaintext):
    reader = Reader(plaintext)
    manifest = record(reader, 1, MANIFEST)
    check(manifest["version"] == 1)
    partition = record(reader, 2, PARTITION)
    shared = {
        "partition": partition,
        "generation": manifest["generation"],
        "nextHandle": manifest["nextHandle"],
        "users": group(reader, 3, USER, "name", manifest["users"], 65536),
        "objects": group(reader, 4, OBJECT, "id", manifest["objects"], 2**20),
        "tombstones": group(reader, 5, TOMBSTONE, "id", manifest["tombstones"], 2**22),
        "policies": group(reader, 6, POLICY, "name", manifest["policies"], 1024),
    }
    failures = group(reader, 7, FAILURES, "name", manifest["failures"], 65536)
    reader.end()
    local = {
        "failures": {name: one["count"] for name, one in failures.items()},
        "auditSequence": manifest["auditSequence"],
    }
    key = derive(partition["maskingKey"], b"keyark local digest v1", b"")
    check(manifest["localDigest"] == digest(key, canon(local, MAPS)))
    return shared


# ---- digests: maps and objects are both dicts here, so their names say which is which

MAPS = {"failures", "users", "objects", "tombstones", "policies", "attributes"}


def digest(key, octets):
    return hmac.new(key, octets, hashlib.sha256).digest()


def canon(value, maps, is_map=False):
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        return b"u" + struct.pack(">Q", value)
    if isinstance(value, str):
        return b"s" + part(value.encode())
    if isinstance(value, bytes):
        return b"b" + part(value)
    if isinstance(value, list):
        items = b"".join(canon(item, maps) for item in value)
        return b"l" + struct.pack(">I", len(value)) + items
    order = sorted(value, key=lambda key: key if isinstance(key, int) else key.encode())
    out = (b"m" if is_map else b"o") + struct.pack(">I", len(value))
    for key in order:
        # Only an object's property can be a map; a map's values are records.
        out += canon(key, maps) + canon(value[key], maps, not is_map and key in maps)
    return out


# ---- opening

MAY_RESTORE = {
    "hsm1.medium FIPS": ["hsm1.medium FIPS", "hsm2m.medium FIPS"],
    "hsm2m.medium FIPS": ["hsm2m.medium FIPS"],
    "hsm2m.medium NON_FIPS": ["hsm2m.medium NON_FIPS"],
}


def read_header(body, roots):
    reader = Reader(body)
    check(reader.take(8) == b"KEYARK-B")
    if reader.u16() != 1:
        raise Refused("InvalidRequest")
    header_bytes = reader.u16()
    check(61 <= header_bytes <= 255 and len(body) >= header_bytes)
    reader = Reader(body[:header_bytes])
    reader.take(12)
    count, plaintext_bytes, body_bytes = reader.u32(), reader.u64(), reader.u64()
    check(1 <= plaintext_bytes <= 2**30)
    check(count == -(-plaintext_bytes // 2040))
    last = plaintext_bytes - 2040 * (count - 1)
    check(body_bytes == header_bytes + 2056 * (count - 1) + 8 * (-(-(last + 8) // 8) + 1))
    backup_id, *domain = [utf8(reader.take(reader.u16())) for _ in range(4)]
    reader.end()
    check(re.fullmatch(r"backup-[2-7a-zA-Z]{11,16}", backup_id))
    for one in domain:
        check(1 <= len(one.encode()) <= 64 and not re.search("[\0-\x1f\x7f-\x9f]", one))
    if domain != [roots["vendor"], roots["line"], roots["owner"]]:
        raise Refused("InvalidRequest")
    return header_bytes, count, last, body_bytes


def read_seal_record(octets, roots):
    reader = Reader(octets)
    check(reader.take(8) == b"KEYARK-S")
    if reader.u32() != 1:
        raise Refused("InvalidRequest")
    check(len(octets) == 124)
    epochs = (reader.u32(), reader.u32())
    mkbk, akbk = [
        {root["epoch"]: bytes.fromhex(root["key"]) for root in roots[kind]}.get(epoch)
        for kind, epoch in zip(("mkbk", "akbk"), epochs)
    ]
    check(mkbk is not None and akbk is not None)
    texts = [roots[name].encode() for name in ("vendor", "line", "owner")]
    context = b"".join(map(part, texts + [struct.pack(">I", epoch) for epoch in epochs]))
    secret = unwrap(derive(mkbk + akbk, b"keyark backup PBK v1", context), reader.take(104))
    check(len(secret) == 96)
    return secret[:32], secret[32:64], secret[64:]


def open_backup(body, seal_record, roots, target):
    header_bytes, count, last, body_bytes = read_header(body, roots)
    ebk, header_sha256, plaintext_sha256 = read_seal_record(seal_record, roots)
    check(sha256(body[:header_bytes]) == header_sha256)
    check(len(body) == body_bytes)
    plaintext = b""
    for index in range(count):
        at = header_bytes + 2056 * index
        segment = unwrap(ebk, body[at : at + 2056])
        check(segment[:8] == struct.pack(">II", index, count))
        check(len(segment) == 8 + (last if index == count - 1 else 2040))
        plaintext += segment[8:]
    check(sha256(plaintext) == plaintext_sha256)
    shared = decode(plaintext)
    kind = "{type} {mode}"
    if kind.format(**target) not in MAY_RESTORE.get(kind.format(**shared["partition"]), []):
        raise Refused("WrongState")
    key = derive(shared["partition"]["maskingKey"], b"keyark state digest v1", b"")
    return digest(key, canon(shared, MAPS)).hex()


def main(paths):
    for path in paths:
        with open(path, encoding="utf-8") as file:
            vector = json.load(file)
        name = os.path.basename(path).removesuffix(".json")
        try:
            state_digest = open_backup(
                base64.b64decode(vector["body"]),
                base64.b64decode(vector["sealRecord"]),
                vector["roots"],
                vector["target"],
            )
            print(name, "opens", state_digest)
        except Refused as refused:
            print(name, refused)


if __name__ == "__main__":
    main(sys.argv[1:])
