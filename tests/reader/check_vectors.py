#!/usr/bin/env python3
"""Checks fixtures/vectors/v1.json with the reader's own code: `check_vectors.py VECTORS`.

The cutting rule, which no reader needs, is written out here a second time, to show that
docs/format.md says enough of it.
"""

import json
import sys
from struct import unpack

import blake3
import cbor
import cistern_reader as reader
import zstandard

# Section "Cutting" of docs/format.md, for an average of 16 KiB.
MASK_SMALL, MASK_LARGE = 0x0000D90F03530000, 0x0000D90303530000


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: got {got!r}, wanted {wanted!r}")


def noise(key, length):
    return blake3.keyed(bytes([key]) * 32, b"", length)


def cut(data, sizes, gear):
    """Length of the first chunk."""
    end = min(len(data), sizes["max_bytes"])
    hash_ = 0
    for at in range(min(sizes["min_bytes"], end), end - end % 2):
        hash_ = ((hash_ << 1) + gear[data[at]]) & 0xFFFFFFFFFFFFFFFF
        if not hash_ & (MASK_SMALL if at < sizes["avg_bytes"] else MASK_LARGE):
            return at
    return end


def padded(length):
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def check_keys(vectors):
    wanted, texts = vectors["keys"], vectors["credentials"]
    for role, text in texts.items():
        keys = reader.Keys(text)
        expect(f"repository of {role}", keys.repo.hex(), wanted["repository"])
        for name in ("meta", "pack_mac", "recipe_id") + (() if role == "maintain" else ("chunk_id",)):
            vector = wanted["metadata" if name == "meta" else name]
            expect(f"{name} of {role}", getattr(keys, name).hex(), vector)
    slot = vectors["key_slot"]
    repo = bytes.fromhex(wanted["repository"])
    expect("key slot", reader.unlock_slot(slot["slot"], repo, slot["passphrase"].encode()), texts["owner"])
    expect("another passphrase", reader.unlock_slot(slot["slot"], repo, b"another"), None)
    return reader.Keys(texts["owner"])


def check_objects(vectors, keys):
    envelope, pack, record = vectors["envelope"], vectors["pack"], vectors["record"]
    body = reader.open_envelope(keys, b"FRGT", envelope["key"], bytes.fromhex(envelope["object"]))
    expect("body of an envelope", body.hex(), envelope["body"])
    expect("CBOR in it", cbor.decode(body), {"reason": "test", "at_ms": 1_700_000_000_000})
    data = bytes.fromhex(pack["object"])
    reader.check_pack(keys, pack["key"], data)
    (row,) = reader.open_pack_directory(keys, pack["key"], data)
    expect("chunk id in a directory", row.id.hex(), record["chunk_id"])
    expect("record in a pack", data[row.offset : row.offset + row.length].hex(), record["record"])
    key = keys.data_key(row.session, bytes.fromhex(record["sealed_seed"]))
    aad = b"CSTNREC1" + keys.repo + row.session + row.id + b"\0\0" + row.raw_len.to_bytes(4, "little")
    sealed = bytes.fromhex(record["record"])
    expect("record", reader.open_sealed(key, sealed[:24], sealed[24:], aad, "record").hex(), record["chunk"])
    expect("chunk id", blake3.keyed(keys.chunk_id, bytes.fromhex(record["chunk"])).hex(), record["chunk_id"])


def check_frames(frames):
    base = zstandard.ZstdCompressionDict(
        bytes.fromhex(frames["base"]), dict_type=zstandard.DICT_TYPE_RAWCONTENT
    )
    for name, dictionary in (("zstd", None), ("delta", base)):
        raw = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(bytes.fromhex(frames[name]))
        expect(f"{name} frame", raw.hex(), frames["chunk"])


def check_cuts(cuts, keys):
    gear_key = bytes.fromhex(keys["gear"])
    gear = unpack("<256Q", blake3.keyed(gear_key, b"", 2048))
    rest, lengths = noise(cuts["noise_key_byte"], cuts["stream_bytes"]), []
    while rest:
        lengths.append(cut(rest, cuts["chunk_sizes"], gear))
        rest = rest[lengths[-1] :]
    expect("cut points", lengths, cuts["lengths"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    keys = check_keys(vectors)
    check_objects(vectors, keys)
    check_frames(vectors["frames"])
    check_cuts(vectors["cuts"], vectors["keys"])
    expect("Padmé lengths", [[n, padded(n)] for n, _ in vectors["padme"]], vectors["padme"])


if __name__ == "__main__":
    main()
