#!/usr/bin/env python3
"""Reads Cistern repositories of format v1, by docs/format.md and nothing else.

    cistern_reader.py REPO --key-file FILE ls
    cistern_reader.py REPO --key-file FILE pull NAME|ID > stream
    cistern_reader.py REPO --key-file FILE check

Everything is verified before it is used: seals, names of chunks, and the digest of the whole stream.
What was wrapped in gzip comes out as its content. Needs the packages pynacl and zstandard.
"""

import argparse
import hmac
import json
import re
import sys
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path
from struct import unpack_from

import nacl.bindings as sodium
import nacl.exceptions
import nacl.pwhash
import zstandard

import blake3
import cbor

VERSION = 1
RAW, ZSTD, DELTA = 0, 1, 3
DATA, RECIPE = 0, 1
META_ROW = 0xFFFF
BODY_BYTES_MAX = 256 << 20
CHUNK_BYTES_MAX = 8 << 20
# Plain bytes of bases kept in memory.
BASES_BYTES_MAX = 256 << 20

ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
ULID_KEY = re.compile(f"[a-z]+/{ULID}")
PACK_KEY = re.compile(rf"packs/([0-9a-f]{{2}})/\1[0-9a-f]{{38}}\.{ULID}")

Row = namedtuple("Row", "pack offset length id raw_len codec kind session sealed base")


class Refused(Exception):
    """Bytes that are damaged, forged, of a later version, or under another key."""


# --- cryptography -----------------------------------------------------------------------------------


def open_sealed(key, nonce, text, aad, what):
    """XChaCha20-Poly1305; the tag stands at the end of the text."""
    try:
        return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(bytes(text), aad, bytes(nonce), key)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise Refused(f"{what} does not match its seal") from error


class Keys:
    """The keys a credential holds."""

    def __init__(self, text):
        word, role, payload = text.strip().split("-", 2)
        data = bytes.fromhex(payload)
        body, check = data[:-4], data[-4:]
        if word != "cistern" or blake3.derive_key("cistern v1 credential check", body)[:4] != check:
            raise Refused("this is no credential, or not all of it")
        if body[0] != VERSION:
            raise Refused(f"a credential of version {body[0]}")
        self.role, self.repo = role, body[1:17]
        parts = [body[at : at + 32] for at in range(17, len(body), 32)]
        wanted = {"owner": 1, "pull": 8, "push": 7, "maintain": 2}.get(role)
        if len(parts) != wanted or len(parts[-1]) != 32:
            raise Refused("a credential of the wrong length for its role")
        if role == "owner":
            parts = self._derived(parts[0])
        parts += [None] * (8 - len(parts))
        self.meta, self.pack_mac, self.chunk_id, _gear, _sketch, self.psk, _public, self.secret = parts
        self.recipe_id = blake3.derive_key("cistern v1 recipe id", self.meta)

    def _derived(self, root):
        base = blake3.derive_key("cistern v1 repository root", root + self.repo)
        contexts = ["metadata", "pack mac", "chunk id", "gear table", "sketch", "data psk"]
        keys = [blake3.derive_key(f"cistern v1 {context}", base) for context in contexts]
        secret = blake3.derive_key("cistern v1 data secret", base)
        return [*keys, sodium.crypto_scalarmult_base(secret), secret]

    def data_key(self, session, sealed):
        """The key a session sealed its data records with."""
        if self.secret is None:
            raise Refused(f"a credential of role {self.role} cannot read data")
        public = sodium.crypto_scalarmult_base(self.secret)
        try:
            seed = sodium.crypto_box_seal_open(bytes(sealed), public, self.secret)
        except nacl.exceptions.CryptoError as error:
            raise Refused("a sealed data key was changed") from error
        return blake3.derive_key("cistern v1 session data", seed + self.psk + self.repo + session)


def unlock_slot(slot, repo, passphrase):
    """The credential in a key slot, or None if the passphrase is another's."""
    cost, role, label = slot["cost"], slot["role"].encode(), slot["label"].encode()
    if slot["version"] > VERSION or cost["memory_kib"] > 1 << 20 or cost["passes"] > 16:
        raise Refused("a key slot of a later version, or one that asks for too much")
    salt, nonce = bytes.fromhex(slot["salt"]), bytes.fromhex(slot["nonce"])
    aad = b"CSTNSLOT" + repo + bytes([slot["version"]])
    for text in (role, label):
        aad += len(text).to_bytes(4, "little") + text
    aad += cost["memory_kib"].to_bytes(4, "little") + cost["passes"].to_bytes(4, "little") + salt + nonce
    key = nacl.pwhash.argon2id.kdf(
        32, passphrase, salt, opslimit=cost["passes"], memlimit=cost["memory_kib"] << 10
    )
    commitment = blake3.derive_key("cistern v1 slot commitment", key + aad)
    if not hmac.compare_digest(commitment, bytes.fromhex(slot["commitment"])):
        return None
    return open_sealed(key, nonce, bytes.fromhex(slot["wrapped"]), aad, "key slot").decode()


def open_envelope(keys, letters, name, data):
    """The body of a metadata object found under `name`."""
    if len(data) < 108 or data[:4] != b"CSTN" or data[4:8] != letters:
        raise Refused(f"{name} is cut short, or something else than it should be")
    if data[8] > VERSION:
        raise Refused(f"{name} is of version {data[8]}")
    if data[16:32] != keys.repo:
        raise Refused(f"{name} belongs to another repository")
    commitment = blake3.derive_key("cistern v1 envelope commitment", keys.meta + data[:56])
    if not hmac.compare_digest(commitment, data[56:88]):
        raise Refused(f"{name} was sealed with another key")
    inner = open_sealed(keys.meta, data[32:56], data[88:], data[:88] + name.encode(), name)
    length = int.from_bytes(inner[:4], "little")
    packed = inner[4 : 4 + length]
    if len(packed) < length:
        raise Refused(f"{name} is malformed")
    if data[9] == RAW:
        return packed
    if data[9] != ZSTD or zstandard.frame_content_size(packed) > BODY_BYTES_MAX:
        raise Refused(f"{name} is packed in an unknown way, or too large")
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=BODY_BYTES_MAX)


# --- packs and where chunks are ---------------------------------------------------------------------


def read_directory(pack, data):
    """The rows of an opened directory."""
    at = 4
    sealed_keys = []
    for _ in range(unpack_from("<I", data)[0]):
        if data[at] != 1:
            raise Refused(f"{pack}: a data key is sealed in an unknown way")
        sealed_keys.append((data[at + 4 : at + 20], data[at + 20 : at + 100]))
        at += 100
    (count,) = unpack_from("<I", data, at)
    at += 4
    if count * 48 > len(data):
        raise Refused(f"{pack}: its directory is cut short")
    ids = [data[at + 32 * n : at + 32 * n + 32] for n in range(count)]
    at += 32 * count
    columns = []
    for letter, size in (("I", 4), ("I", 4), ("B", 1), ("B", 1), ("H", 2), ("I", 4)):
        columns.append(unpack_from(f"<{count}{letter}", data, at))
        at += size * count
    (base_count,) = unpack_from("<I", data, at)
    at += 4
    bases = [None] + [data[at + 32 * n : at + 32 * n + 32] for n in range(base_count)]
    if at + 32 * base_count != len(data):
        raise Refused(f"{pack}: its directory has another length than it says")
    rows, offset = [], 64
    for id_, raw_len, length, codec, kind, key, base in zip(ids, *columns):
        session, sealed = (None, None) if key == META_ROW else sealed_keys[key]
        if raw_len > CHUNK_BYTES_MAX or length < 40 or (key == META_ROW) != (kind == RECIPE):
            raise Refused(f"{pack}: its directory holds a row that makes no sense")
        rows.append(Row(pack, offset, length, id_, raw_len, codec, kind, session, sealed, bases[base]))
        offset += length
    return rows


def open_pack_directory(keys, pack, data):
    """The rows of a whole pack, by its own directory."""
    header = data[:64]
    if len(data) < 160 or header[:8] != b"CSTNPACK" or header[8] > VERSION or header[16:32] != keys.repo:
        raise Refused(f"{pack} is no pack of this repository and version")
    if header[32:48] != session_bytes(pack.rsplit(".", 1)[1]):
        raise Refused(f"{pack} stands under the name of another session")
    trailer = data[-96:-32]
    plain = open_sealed(keys.meta, trailer[:24], trailer[24:], header + b"TRAILER", f"trailer of {pack}")
    offset, length, records_end = unpack_from("<QIQ", plain)
    if offset + length + 96 != len(data) or records_end > offset:
        raise Refused(f"{pack}: its trailer points elsewhere")
    sealed = data[offset : offset + length]
    plain = open_sealed(keys.meta, sealed[:24], sealed[24:], header + b"DIRECTORY", f"directory of {pack}")
    rows = read_directory(pack, plain)
    if 64 + sum(row.length for row in rows) != records_end:
        raise Refused(f"{pack}: its records end elsewhere than its trailer says")
    return rows


def check_pack(keys, pack, data):
    """Name and mac of a whole pack."""
    if blake3.digest(data)[:20].hex() != pack.rsplit("/", 1)[1].split(".")[0]:
        raise Refused(f"{pack} does not match its name")
    mac = blake3.keyed(keys.pack_mac, blake3.digest(data[:-32]))
    if not hmac.compare_digest(mac, data[-32:]):
        raise Refused(f"{pack} does not match its mac")


CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def session_bytes(text):
    """The sixteen bytes of an id."""
    number = 0
    for letter in text:
        number = number * 32 + CROCKFORD.index(letter)
    return number.to_bytes(16, "big")


# --- the repository ---------------------------------------------------------------------------------


class Repository:
    """A repository in a local folder."""

    def __init__(self, folder, key_text=None, passphrase=None):
        self.folder = Path(folder)
        marker = json.loads(self.read("cistern.json"))
        if marker["format"] != "cistern" or marker["version"] > VERSION or marker["features"]:
            raise Refused("this is no repository that can be read here")
        repo = bytes.fromhex(marker["repository"])
        self.keys = Keys(key_text or self.key_behind(passphrase, repo))
        if self.keys.repo != repo:
            raise Refused("the key belongs to another repository")
        self.config = cbor.decode(self.open(b"CONF", "config"))
        self.places = defaultdict(list)
        self.data_keys = {}
        self.bases = OrderedDict()

    def key_behind(self, passphrase, repo):
        for name in self.names("keys"):
            text = unlock_slot(json.loads(self.read(name)), repo, passphrase)
            if text is not None:
                return text
        raise Refused("no key slot opens with this passphrase")

    def read(self, name):
        return (self.folder / name).read_bytes()

    def open(self, letters, name):
        return open_envelope(self.keys, letters, name, self.read(name))

    def names(self, prefix):
        """Keys below a prefix; what fits no key of the format was not written by it."""
        found = (self.folder / prefix).rglob("*")
        names = (path.relative_to(self.folder).as_posix() for path in found if path.is_file())
        fits = PACK_KEY if prefix == "packs" else ULID_KEY
        return sorted(name for name in names if fits.fullmatch(name))

    def snapshots(self):
        """Those that are neither refused nor forgotten, oldest first: id and body."""
        forgotten = {name.split("/")[1] for name in self.names("forgotten")}
        found = []
        for name in self.names("snapshots"):
            id_ = name.split("/")[1]
            if id_ in forgotten:
                continue
            if self.read(name)[4:8] == b"TOMB":
                self.open(b"TOMB", name)
            else:
                found.append((id_, cbor.decode(self.open(b"SNAP", name))))
        return found

    def find(self, wanted):
        """The newest snapshot of a name, or the one whose id ends so."""
        fits = [s for s in self.snapshots() if s[1]["name"] == wanted]
        fits = fits or [s for s in self.snapshots() if len(wanted) > 3 and s[0].endswith(wanted.upper())]
        if not fits:
            raise Refused(f"there is no snapshot {wanted}")
        return fits[-1]

    def load_places(self, use_index=True):
        """Learns where chunks are: from the index, and from packs that no index object names."""
        there = set(self.names("packs"))
        if use_index:
            for name in self.names("index"):
                there -= self.load_index(self.open(b"INDX", name), there)
        for pack in there:
            self.learn(open_pack_directory(self.keys, pack, self.read(pack)))

    def load_index(self, body, there):
        at, named = 4, set()
        for _ in range(unpack_from("<I", body)[0]):
            digest, session = body[at : at + 20].hex(), int.from_bytes(body[at + 20 : at + 36], "big")
            object_len, length = unpack_from("<QI", body, at + 36)
            letters = "".join(CROCKFORD[session >> shift & 31] for shift in range(125, -1, -5))
            pack = f"packs/{digest[:2]}/{digest}.{letters}"
            at += 48
            if pack in there and (self.folder / pack).stat().st_size == object_len:
                self.learn(read_directory(pack, body[at : at + length]))
                named.add(pack)
            at += length
        return named

    def learn(self, rows):
        for row in rows:
            self.places[row.id].append(row)

    # --- chunks ---

    def chunk(self, id_, whole_only=False):
        """The plain bytes of a chunk, from the first place that gives them."""
        failure = Refused(f"chunk {id_.hex()} is in no pack")
        for row in sorted(self.places.get(id_, ()), key=lambda row: row.codec == DELTA):
            if whole_only and row.codec == DELTA:
                continue
            try:
                return self.expand(row)
            except (Refused, OSError, zstandard.ZstdError) as error:
                failure = error
        raise failure

    def base(self, id_):
        raw = self.bases.pop(id_, None)
        if raw is None:
            raw = self.chunk(id_, whole_only=True)
        self.bases[id_] = raw
        while sum(map(len, self.bases.values())) > BASES_BYTES_MAX:
            self.bases.popitem(last=False)
        return raw

    def expand(self, row):
        """Opens one record and checks what comes out of it."""
        what = f"record at {row.offset} of {row.pack}"
        with open(self.folder / row.pack, "rb") as pack:
            pack.seek(row.offset)
            record = pack.read(row.length)
        session = row.session or bytes(16)
        aad = b"CSTNREC1" + self.keys.repo + session + row.id
        aad += bytes([row.codec, row.kind]) + row.raw_len.to_bytes(4, "little") + (row.base or b"")
        squeezed = open_sealed(self.record_key(row), record[:24], record[24:], aad, what)
        raw = self.unsqueeze(row, squeezed)
        name_key = self.keys.recipe_id if row.kind == RECIPE else self.keys.chunk_id
        if len(raw) != row.raw_len or blake3.keyed(name_key, raw) != row.id:
            raise Refused(f"{what} holds another chunk")
        return raw

    def record_key(self, row):
        if row.kind == RECIPE:
            return self.keys.meta
        if row.session not in self.data_keys:
            self.data_keys[row.session] = self.keys.data_key(row.session, row.sealed)
        return self.data_keys[row.session]

    def unsqueeze(self, row, squeezed):
        if row.codec == RAW:
            return squeezed
        if row.codec == ZSTD:
            return zstandard.ZstdDecompressor().decompress(squeezed, max_output_size=max(row.raw_len, 1))
        if row.codec != DELTA or row.base is None:
            raise Refused(f"codec {row.codec} is unknown")
        prefix = zstandard.ZstdCompressionDict(self.base(row.base), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        expander = zstandard.ZstdDecompressor(dict_data=prefix, max_window_size=1 << 27)
        return expander.decompress(squeezed, max_output_size=max(row.raw_len, 1))

    # --- streams ---

    def leaves(self, depth, nodes):
        """The data chunks below these nodes: id and length, in order."""
        for id_, length in nodes:
            if depth == 0:
                yield id_, length
                continue
            piece = self.chunk(id_)
            level, count = unpack_from("<BI", piece)
            if level != depth - 1 or len(piece) != 5 + 40 * count:
                raise Refused("a recipe piece that makes no sense")
            ids = [piece[5 + 32 * n : 37 + 32 * n] for n in range(count)]
            lengths = unpack_from(f"<{count}Q", piece, 5 + 32 * count)
            if sum(lengths) != length:
                raise Refused("a recipe piece of another length than its node says")
            yield from self.leaves(depth - 1, list(zip(ids, lengths)))

    def pull(self, snapshot, out):
        """Writes a snapshot's stream."""
        recipe = snapshot["recipe"]
        nodes = [(node["id"], node["len"]) for node in recipe["nodes"]]
        whole, written = blake3.hasher(), 0
        for id_, length in self.leaves(recipe["depth"], nodes):
            raw = self.chunk(id_)
            if len(raw) != length:
                raise Refused("a chunk of another length than the recipe says")
            whole.update(raw)
            out.write(raw)
            written += length
        if whole.digest() != snapshot["digest"] or written != snapshot["raw_bytes"]:
            raise Refused("the stream as a whole does not match its digest")


def as_text(id_, snapshot):
    fields = {key: snapshot[key] for key in ("name", "raw_bytes", "sequence", "tags", "deltas")}
    fields |= {"id": id_, "depth": snapshot["recipe"]["depth"], "digest": snapshot["digest"].hex()}
    wrap = snapshot["wrap"]
    return json.dumps(fields | {"wrapped_bytes": wrap and wrap["original_bytes"]}, sort_keys=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repo", help="folder of the repository")
    opened_by = parser.add_mutually_exclusive_group(required=True)
    opened_by.add_argument("--key-file", type=Path)
    opened_by.add_argument("--passphrase-file", type=Path)
    parser.add_argument("--no-index", action="store_true", help="use the packs' own directories only")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="list snapshots, one JSON object a line")
    commands.add_parser("check", help="check every pack against its name and mac")
    commands.add_parser("pull", help="write a stream to standard output").add_argument("snapshot")
    args = parser.parse_args()
    key = args.key_file and args.key_file.read_text()
    passphrase = args.passphrase_file and args.passphrase_file.read_bytes().rstrip(b"\r\n")
    repository = Repository(args.repo, key, passphrase)
    if args.command == "ls":
        for id_, snapshot in repository.snapshots():
            print(as_text(id_, snapshot))
    elif args.command == "check":
        for pack in repository.names("packs"):
            data = repository.read(pack)
            check_pack(repository.keys, pack, data)
            open_pack_directory(repository.keys, pack, data)
            print(pack)
    else:
        _, snapshot = repository.find(args.snapshot)
        repository.load_places(use_index=not args.no_index)
        repository.pull(snapshot, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main()
    except (Refused, cbor.Malformed, OSError, KeyError, ValueError) as failure:
        sys.exit(f"cistern_reader: {failure}")
