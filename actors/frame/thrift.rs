//! Thrift's compact protocol, as far as Parquet's headers and footer need it: writing only. Source: the Apache Thrift
//! specification, `thrift-compact-protocol.md`.

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// An unsigned number in groups of seven bits, the lowest first.
pub(super) fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A signed number so that small ones of either sign are short.
pub(super) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// A struct under way. Fields are written in the order of their numbers; [`Struct::end`] closes it.
pub(super) struct Struct<'a> {
    out: &'a mut Vec<u8>,
    last: u8,
}

impl<'a> Struct<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    fn field(&mut self, id: u8, kind: u8) {
        match id.checked_sub(self.last) {
            Some(step @ 1..=15) => self.out.push(step << 4 | kind),
            _ => {
                self.out.push(kind);
                varint(self.out, zigzag(i64::from(id)));
            }
        }
        self.last = id;
    }

    pub(super) fn bool(mut self, id: u8, value: bool) -> Self {
        self.field(id, if value { TRUE } else { FALSE });
        self
    }

    pub(super) fn i32(mut self, id: u8, value: i32) -> Self {
        self.field(id, I32);
        varint(self.out, zigzag(i64::from(value)));
        self
    }

    pub(super) fn i64(mut self, id: u8, value: i64) -> Self {
        self.field(id, I64);
        varint(self.out, zigzag(value));
        self
    }

    pub(super) fn bytes(mut self, id: u8, value: &[u8]) -> Self {
        self.field(id, BINARY);
        varint(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
        self
    }

    /// A list of numbers.
    pub(super) fn numbers(mut self, id: u8, values: &[i32]) -> Self {
        self.list(id, I32, values.len());
        for v in values {
            varint(self.out, zigzag(i64::from(*v)));
        }
        self
    }

    /// A list of texts.
    pub(super) fn texts(mut self, id: u8, values: &[&str]) -> Self {
        self.list(id, BINARY, values.len());
        for v in values {
            varint(self.out, v.len() as u64);
            self.out.extend_from_slice(v.as_bytes());
        }
        self
    }

    /// A struct in it; `write` writes the fields.
    pub(super) fn nested(mut self, id: u8, write: impl FnOnce(Struct<'_>) -> Struct<'_>) -> Self {
        self.field(id, STRUCT);
        write(Struct::new(self.out)).end();
        self
    }

    /// A list of structs; `write` writes the fields of one.
    pub(super) fn structs<T>(
        mut self,
        id: u8,
        of: &[T],
        mut write: impl for<'b> FnMut(Struct<'b>, &T) -> Struct<'b>,
    ) -> Self {
        self.list(id, STRUCT, of.len());
        for t in of {
            write(Struct::new(self.out), t).end();
        }
        self
    }

    fn list(&mut self, id: u8, kind: u8, len: usize) {
        self.field(id, LIST);
        match u8::try_from(len) {
            Ok(n @ 0..15) => self.out.push(n << 4 | kind),
            _ => {
                self.out.push(0xf0 | kind);
                varint(self.out, len as u64);
            }
        }
    }

    pub(super) fn end(self) {
        self.out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_the_specification_has_them() {
        let mut out = Vec::new();
        Struct::new(&mut out).i32(1, -1).bytes(3, b"ab").numbers(20, &[1]).bool(21, true).end();
        assert_eq!(out, [0x15, 1, 0x28, 2, b'a', b'b', 0x09, 40, 0x15, 2, 0x11, 0]);
    }

    #[test]
    fn numbers_of_any_size_are_whole() {
        let mut out = Vec::new();
        varint(&mut out, 300);
        assert_eq!(out, [0xac, 2]);
        assert_eq!([zigzag(0), zigzag(-1), zigzag(1), zigzag(i64::MIN)], [0, 1, 2, u64::MAX]);
    }
}
