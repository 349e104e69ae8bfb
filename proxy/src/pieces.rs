//! A body that is kept: in memory of its own, in one piece if it is small, in many if it is large.
//!
//! What comes in is a slice of a read buffer, which may be a hundred times as large. So it is copied as it comes, into blocks
//! that are used to their end. The blocks of a large body are what is stored in the end: it is never there twice.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};

/// Of one block of a large body.
const BLOCK_BYTES: usize = 64 * 1024;
/// A body below this is copied into one piece that is just as long: a block is left partly empty, which matters for it.
const SMALL_BYTES: usize = 1024 * 1024;

/// A large body in pieces that are smaller than this on the average is copied all the same: each takes room of its own.
const LEAST_PIECE_BYTES: usize = 4 * 1024;
/// What a piece takes besides its bytes.
pub const PIECE_OVERHEAD_BYTES: usize = 64;

/// Bytes in order, cheap to copy.
#[derive(Debug, Clone)]
pub enum Pieces {
    One(Bytes),
    Many(Arc<Many>),
}

#[derive(Debug)]
pub struct Many {
    pieces: Box<[Bytes]>,
    length: usize,
}

impl Default for Pieces {
    fn default() -> Pieces {
        Pieces::One(Bytes::new())
    }
}

impl Pieces {
    /// Of what [`Block::copied`] gave. A large body is not copied again.
    pub fn of<'p>(pieces: impl Iterator<Item = &'p Bytes> + Clone) -> Pieces {
        let length: usize = pieces.clone().map(Bytes::len).sum();
        if length >= SMALL_BYTES {
            let is_scattered = pieces.clone().count() > length / LEAST_PIECE_BYTES;
            let pieces = if is_scattered { blocks(pieces, length) } else { pieces.cloned().collect() };
            return Pieces::Many(Arc::new(Many { pieces, length }));
        }
        let mut one = BytesMut::with_capacity(length);
        pieces.for_each(|piece| one.extend_from_slice(piece));
        Pieces::One(one.freeze())
    }

    pub fn len(&self) -> usize {
        match self {
            Pieces::One(bytes) => bytes.len(),
            Pieces::Many(many) => many.length,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> + Clone {
        match self {
            Pieces::One(bytes) => std::slice::from_ref(bytes).iter(),
            Pieces::Many(many) => many.pieces.iter(),
        }
    }

    /// The bytes of a range, as far as they are there; none is copied.
    pub fn slice(&self, range: Range<usize>) -> VecDeque<Bytes> {
        let mut before = 0;
        let within = self.iter().filter_map(|piece| {
            let at = |position: usize| position.saturating_sub(before).min(piece.len());
            let (start, end) = (at(range.start), at(range.end));
            before += piece.len();
            (start < end).then(|| piece.slice(start..end))
        });
        within.collect()
    }
}

/// The same bytes in blocks that are as large as they may be.
fn blocks<'p>(pieces: impl Iterator<Item = &'p Bytes>, length: usize) -> Box<[Bytes]> {
    let mut blocks = Vec::with_capacity(length.div_ceil(BLOCK_BYTES));
    let mut block = BytesMut::with_capacity(BLOCK_BYTES);
    let mut left = length;
    for piece in pieces {
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - block.len()));
            block.extend_from_slice(now);
            left -= now.len();
            if block.len() == BLOCK_BYTES {
                blocks.push(
                    std::mem::replace(&mut block, BytesMut::with_capacity(left.min(BLOCK_BYTES))).freeze(),
                );
            }
            rest = later;
        }
    }
    if !block.is_empty() {
        blocks.push(block.freeze());
    }
    blocks.into()
}

/// Copies what comes in into memory of its own.
#[derive(Debug, Default)]
pub struct Block {
    rest: BytesMut,
}

impl Block {
    /// A copy, in one piece or, where a block ends, in two or more. `expected`: how much more is known to come.
    pub fn copied(&mut self, mut chunk: &[u8], expected: Option<u64>, mut each: impl FnMut(Bytes)) {
        while !chunk.is_empty() {
            if self.rest.capacity() == 0 {
                let expected =
                    expected.map_or(BLOCK_BYTES, |more| usize::try_from(more).unwrap_or(BLOCK_BYTES));
                self.rest = BytesMut::with_capacity(expected.clamp(1, BLOCK_BYTES));
            }
            let (now, later) = chunk.split_at(chunk.len().min(self.rest.capacity()));
            self.rest.extend_from_slice(now);
            each(self.rest.split().freeze());
            chunk = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(length: usize, chunk: usize) -> (Vec<u8>, Pieces) {
        let whole: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut block = Block::default();
        let mut kept = Vec::new();
        whole.chunks(chunk).for_each(|chunk| block.copied(chunk, None, |piece| kept.push(piece)));
        (whole, Pieces::of(kept.iter()))
    }

    fn joined<'p>(pieces: impl Iterator<Item = &'p Bytes>) -> Vec<u8> {
        pieces.flat_map(|piece| piece.iter().copied()).collect()
    }

    #[test]
    fn bytes_stay_what_they_were_in_every_size() {
        for (length, chunk) in
            [(0, 1), (1, 1), (1000, 7), (70_000, 16_384), (SMALL_BYTES, 100_000), (3 << 20, 65_537)]
        {
            let (whole, pieces) = pieces(length, chunk);
            assert_eq!(pieces.len(), length);
            assert!(joined(pieces.iter()) == whole, "{length} bytes in chunks of {chunk}");
            for range in [0..length, 0..1, length / 3..length / 2, length.saturating_sub(1)..length + 5] {
                let end = range.end.min(length);
                let expected = &whole[range.start.min(end)..end];
                assert!(joined(pieces.slice(range).iter()) == expected);
            }
        }
    }

    #[test]
    fn a_large_body_is_not_copied_again_and_a_small_one_is_one_piece() {
        let (_, small) = pieces(SMALL_BYTES - 1, 1000);
        assert!(matches!(small, Pieces::One(_)));
        let mut block = Block::default();
        let mut kept = Vec::new();
        block.copied(&vec![1; SMALL_BYTES], None, |piece| kept.push(piece));
        let large = Pieces::of(kept.iter());
        assert!(large.iter().zip(&kept).all(|(stored, came)| stored.as_ptr() == came.as_ptr()));
        assert_eq!(kept.len(), SMALL_BYTES / BLOCK_BYTES);
    }

    #[test]
    fn a_body_that_came_in_crumbs_is_stored_in_blocks() {
        let (whole, scattered) = pieces(SMALL_BYTES + 7, 3);
        assert!(joined(scattered.iter()) == whole);
        assert_eq!(scattered.iter().count(), SMALL_BYTES / BLOCK_BYTES + 1);
    }

    #[test]
    fn small_chunks_share_blocks_that_are_as_long_as_what_is_expected() {
        let mut block = Block::default();
        let mut kept = Vec::new();
        for left in (1..=100).rev() {
            block.copied(b"x", Some(left), |piece| kept.push(piece));
        }
        let first = kept[0].as_ptr() as usize;
        assert!(kept.iter().enumerate().all(|(at, piece)| piece.as_ptr() as usize == first + at));
    }
}
