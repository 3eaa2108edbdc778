//! Reads little-endian fields from a slice without ever going past its end.

use crate::Damage;

pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Damage> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len()).ok_or(Damage::CutShort {
            what: self.what,
            have: self.bytes.len() as u64,
            want: self.at as u64 + n as u64,
        })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        Ok(self.take(N)?.try_into().expect("take returns as many bytes as asked"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Damage> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Damage> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things of `size` bytes each that still follow; more than fit is refused before
    /// anything is allocated for them.
    pub(crate) fn count(&mut self, size: usize) -> Result<usize, Damage> {
        let n = self.u32()? as usize;
        let left = self.bytes.len() - self.at;
        match n.checked_mul(size) {
            Some(want) if want <= left => Ok(n),
            _ => Err(Damage::malformed(self.what, format!("{n} entries announced, {left} bytes left"))),
        }
    }

    /// Refuses bytes left over.
    pub(crate) fn end(self) -> Result<(), Damage> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            n => Err(Damage::malformed(self.what, format!("{n} bytes left over"))),
        }
    }
}
