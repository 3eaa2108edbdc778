"""BLAKE3 in plain Python: hash, keyed hash, key derivation, output of any length.

After the paper, section 2 (https://github.com/BLAKE3-team/BLAKE3-specs). A 32-bit word of many chunks
lies in one big integer, 64 bits apart, so that one addition adds for all of them: some tens of
megabytes a second, where chunk by chunk it would be one.
"""

from array import array
from struct import pack, unpack

CHUNK_BYTES = 1024
BLOCK_BYTES = 64
# Chunks hashed side by side; a power of two, so that a full batch is a whole subtree.
BATCH_CHUNKS = 256
BATCH_BYTES = BATCH_CHUNKS * CHUNK_BYTES

IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)
CHUNK_START, CHUNK_END, PARENT, ROOT, KEYED_HASH, CONTEXT, MATERIAL = 1, 2, 4, 8, 16, 32, 64
WORD = 0xFFFFFFFF


def _schedule():
    """Which message words each of the 56 mixing steps takes."""
    order, steps = list(range(16)), []
    for _ in range(7):
        for step, places in enumerate(COLUMNS_AND_DIAGONALS):
            steps.append((*places, order[2 * step], order[2 * step + 1]))
        order = [order[i] for i in PERMUTATION]
    return steps


STEPS = _schedule()


def _compress(cv, block, counter, length, flags, lanes):
    """The sixteen words after seven rounds. Every argument holds one value for each lane."""
    mask = WORD * lanes
    low, high = counter
    v = [*cv, *(word * lanes for word in IV[:4]), low, high, length * lanes, flags * lanes]
    for a, b, c, d, x, y in STEPS:
        va, vb, vc = (v[a] + v[b] + block[x]) & mask, v[b], v[c]
        vd = v[d] ^ va
        vd = (vd >> 16 | vd << 16) & mask
        vc = (vc + vd) & mask
        vb ^= vc
        vb = (vb >> 12 | vb << 20) & mask
        va = (va + vb + block[y]) & mask
        vd ^= va
        vd = (vd >> 8 | vd << 24) & mask
        vc = (vc + vd) & mask
        vb ^= vc
        v[a], v[b], v[c], v[d] = va, (vb >> 7 | vb << 25) & mask, vc, vd
    return v


def _together(words):
    """One integer with a word in each lane."""
    return int.from_bytes(array("Q", words).tobytes(), "little")


def _apart(value, lanes):
    return array("Q", value.to_bytes(8 * lanes, "little"))


def _ones(lanes):
    return _together([1] * lanes)


class _Node:
    """A node of the tree before it is known whether it is the root."""

    def __init__(self, cv, block, counter, length, flags):
        self.cv, self.block, self.counter, self.length, self.flags = cv, block, counter, length, flags

    def chaining_value(self):
        counter = (self.counter & WORD, self.counter >> 32)
        v = _compress(self.cv, self.block, counter, self.length, self.flags, 1)
        return [v[i] ^ v[i + 8] for i in range(8)]

    def root_output(self, length):
        out = bytearray()
        number = 0
        while len(out) < length:
            v = _compress(self.cv, self.block, (number, 0), self.length, self.flags | ROOT, 1)
            words = [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ self.cv[i] for i in range(8)]
            out += pack("<16I", *words)
            number += 1
        return bytes(out[:length])


class Blake3:
    """One hash under way."""

    def __init__(self, key=IV, flags=0):
        self._key, self._flags = tuple(key), flags
        self._rest = bytearray()
        self._batches = 0
        # Chaining values of whole subtrees, the largest first.
        self._stack = []

    def update(self, data):
        self._rest += data
        # The last batch stays: it may hold the root.
        while len(self._rest) > BATCH_BYTES:
            batch = bytes(self._rest[:BATCH_BYTES])
            del self._rest[:BATCH_BYTES]
            cv = self._subtree(batch, self._batches * BATCH_CHUNKS).chaining_value()
            self._batches += 1
            merged = self._batches
            while merged % 2 == 0:
                cv = self._parent(self._stack.pop(), cv).chaining_value()
                merged //= 2
            self._stack.append(cv)
        return self

    def digest(self, length=32):
        node = self._subtree(bytes(self._rest), self._batches * BATCH_CHUNKS)
        for left in reversed(self._stack):
            node = self._parent(left, node.chaining_value())
        return node.root_output(length)

    def _parent(self, left, right):
        return _Node(self._key, [*left, *right], 0, BLOCK_BYTES, self._flags | PARENT)

    def _chunk(self, data, counter):
        cv, start = self._key, CHUNK_START
        while len(data) > BLOCK_BYTES:
            node = _Node(cv, unpack("<16I", data[:BLOCK_BYTES]), counter, BLOCK_BYTES, self._flags | start)
            cv, start, data = node.chaining_value(), 0, data[BLOCK_BYTES:]
        block = unpack("<16I", data.ljust(BLOCK_BYTES, b"\0"))
        return _Node(cv, block, counter, len(data), self._flags | start | CHUNK_END)

    def _subtree(self, data, counter):
        if len(data) <= CHUNK_BYTES:
            return self._chunk(data, counter)
        whole = len(data) // CHUNK_BYTES
        columns = self._whole_chunks(data[: whole * CHUNK_BYTES], whole, counter)
        if len(data) % CHUNK_BYTES:
            last = self._chunk(data[whole * CHUNK_BYTES :], counter + whole).chaining_value()
            for column, word in zip(columns, last):
                column.append(word)
        # Neighbours are joined, one left over moves up as it is: that is the shape of the tree.
        while len(columns[0]) > 2:
            columns = self._parents(columns)
        left, right = ([column[side] for column in columns] for side in (0, 1))
        return self._parent(left, right)

    def _whole_chunks(self, data, lanes, counter):
        """Chaining values of whole chunks: eight columns with a word for each chunk."""
        words = array("I", data)
        ones = _ones(lanes)
        numbers = range(counter, counter + lanes)
        at = (_together([n & WORD for n in numbers]), _together([n >> 32 for n in numbers]))
        cv = [word * ones for word in self._key]
        for number in range(16):
            block = [_together(words[number * 16 + word :: 256]) for word in range(16)]
            flags = self._flags | (CHUNK_START if number == 0 else 0) | (CHUNK_END if number == 15 else 0)
            v = _compress(cv, block, at, BLOCK_BYTES, flags, ones)
            cv = [v[i] ^ v[i + 8] for i in range(8)]
        return [_apart(word, lanes) for word in cv]

    def _parents(self, columns):
        count = len(columns[0])
        lanes = count // 2
        ones = _ones(lanes)
        block = [_together(column[side : 2 * lanes : 2]) for side in (0, 1) for column in columns]
        cv = [word * ones for word in self._key]
        v = _compress(cv, block, (0, 0), BLOCK_BYTES, self._flags | PARENT, ones)
        joined = [_apart(v[i] ^ v[i + 8], lanes) for i in range(8)]
        if count % 2:
            for above, below in zip(joined, columns):
                above.append(below[-1])
        return joined


def hasher():
    """An unkeyed hash, to be fed piece by piece."""
    return Blake3()


def digest(data):
    """32 bytes."""
    return Blake3().update(data).digest()


def keyed(key, data, length=32):
    """Keyed hash under 32 bytes, with as much output as asked for."""
    return Blake3(unpack("<8I", key), KEYED_HASH).update(data).digest(length)


def derive_key(context, material):
    """32 bytes for a purpose that the context names."""
    key = Blake3(flags=CONTEXT).update(context.encode()).digest()
    return Blake3(unpack("<8I", key), MATERIAL).update(material).digest()
