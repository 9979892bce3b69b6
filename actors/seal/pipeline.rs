//! Many chunks at once, in order, in bounded memory.
//!
//! Every worker owns its buffers and takes the next job; the part that may run alongside others runs at once, the part
//! that needs order waits for its turn. The lowest job that is out always has a worker, so turns always come; memory
//! is the workers' buffers whatever the pack's size.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::aead::Backend;
use super::chunk::{self, ChunkKeys, ChunkType, Opener};
use super::error::{Diagnosis, SealError};
use super::manifest::Job;
use crate::vault::Vault;

/// What becomes of each chunk. Plaintext is empty where there is no key.
pub(crate) trait Sink: Sync {
    /// Called as soon as a chunk is open, in any order, from any worker.
    fn alongside(&self, job: &Job, chunk: Result<&[u8], &Diagnosis>) -> Result<(), SealError>;
    /// Called for the same chunk afterwards, in the order of the jobs.
    fn in_order(&self, job: &Job, chunk: Result<&[u8], &Diagnosis>) -> Result<(), SealError>;
}

struct Shared {
    next: AtomicUsize,
    turn: Mutex<usize>,
    turned: Condvar,
    failed: AtomicBool,
    error: Mutex<Option<SealError>>,
}

impl Shared {
    /// Waits for the turn of job `number`; false where another job failed.
    fn wait(&self, number: usize) -> bool {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |turn: &mut usize| *turn != number && !self.failed.load(Ordering::Acquire);
        drop(self.turned.wait_while(turn, waiting).unwrap_or_else(PoisonError::into_inner));
        !self.failed.load(Ordering::Acquire)
    }

    fn pass(&self, number: usize) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = number.saturating_add(1);
        self.turned.notify_all();
    }

    fn fail(&self, error: SealError) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        // Under the turn's lock, so that no worker checks just before and sleeps just after.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.failed.store(true, Ordering::Release);
        self.turned.notify_all();
    }
}

/// Reads, checks and (with keys) opens every job's chunk with the vault's threads. Ends at the sink's first error.
pub(crate) fn run(vault: &Vault, jobs: &[Job], keys: Option<&ChunkKeys>, sink: &impl Sink) -> Result<(), SealError> {
    let shared = Shared {
        next: AtomicUsize::new(0),
        turn: Mutex::new(0),
        turned: Condvar::new(),
        failed: AtomicBool::new(false),
        error: Mutex::new(None),
    };
    let work = || {
        let (mut object, mut unpacked) = (Vec::new(), Vec::new());
        while !shared.failed.load(Ordering::Acquire) {
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { break };
            let chunk = load(vault, job, keys, &mut object, &mut unpacked);
            let chunk = chunk.as_ref().map(|plaintext| *plaintext);
            let done = sink.alongside(job, chunk).and_then(|()| match shared.wait(number) {
                true => sink.in_order(job, chunk),
                false => Ok(()),
            });
            match done {
                Ok(()) => shared.pass(number),
                Err(error) => shared.fail(error),
            }
        }
    };
    std::thread::scope(|scope| {
        // One more than there are cores: each waits for the disk now and then.
        for _ in 1..vault.threads().saturating_add(1).min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    match shared.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// The plaintext of one job, or why there is none. Leaf before place before commitment before tag.
pub(crate) fn load<'a>(
    vault: &Vault,
    job: &Job,
    keys: Option<&ChunkKeys>,
    object: &'a mut Vec<u8>,
    unpacked: &'a mut Vec<u8>,
) -> Result<&'a [u8], Diagnosis> {
    vault.read_into(&job.object.object_blake3, job.object.object_len, object)?;
    let opener = match (&job.secret, keys) {
        _ if job.place.kind == ChunkType::Parity => return check(object, job),
        (Some(secret), _) => Opener::Chunk(secret),
        (None, Some(keys)) => Opener::Pack(keys),
        (None, None) => return check(object, job),
    };
    let plaintext = chunk::open(Backend::chosen(), object, &job.place, opener, unpacked)?;
    let reach = job.segments.iter().map(|segment| segment.at.saturating_add(segment.len)).max().unwrap_or(0);
    if plaintext.len() < reach {
        return Err(Diagnosis::Header("shorter than the files in it"));
    }
    Ok(plaintext)
}

fn check<'a>(object: &[u8], job: &Job) -> Result<&'a [u8], Diagnosis> {
    chunk::check_place(object, &job.place).map(|_| Default::default())
}

/// An error that names the job's chunk.
pub(crate) fn object_error(job: &Job, diagnosis: Diagnosis) -> SealError {
    SealError::Object {
        pack: hex::encode(job.place.pack_uid),
        object: hex::encode(job.object.object_blake3),
        index: job.place.index,
        diagnosis,
    }
}
