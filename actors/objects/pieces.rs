//! A part of a file as a stream, in bounded memory.

use bytes::Bytes;
use futures_util::Stream;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of one piece.
const PIECE: u64 = 256 << 10;

/// `bytes` of a file from `from` on; a file that is shorter ends it with an error. Reads happen on the runtime's blocking threads.
pub fn of_file(file: File, from: u64, bytes: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures_util::stream::try_unfold((Arc::new(file), from, bytes), |(file, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let n = left.min(PIECE);
        let of = file.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(n).unwrap_or(0)];
            of.read_exact_at(&mut piece, at).map(|()| piece)
        });
        let piece = read.await.map_err(io::Error::other)??;
        Ok(Some((Bytes::from(piece), (file, at.saturating_add(n), left.saturating_sub(n)))))
    })
}
