//! What sealing and opening cost beside what nobody can leave out.
//!
//! On the same bytes, cores and thread count: each mandated pass alone, then `seal` and `open` whole. Mandated are, because the
//! format or the pack asks for them: of sealing, reading the files, SHA-256 of what is read (the pack's sums), the zstd-1 probe
//! of every chunk, BLAKE3 of the payload (the salt), encryption, BLAKE3 of the object (its name), the XOR of the parity, decryption
//! for the check from memory, writing, and one sync that makes all of it durable; of opening, reading, BLAKE3, decryption, SHA-256,
//! writing and one sync. Not counted, though done: comparing what was decrypted, keys, records, folders, links, more than one sync.
//!
//! Wall time and processor time: on a shared machine only the second can be compared, and a core's caches are shared too.
//! `--mb N` (default 256), `--chunk-mib N` (8), `--threads N` (2), `--rounds N` (3, best counts), `--dir DIR` (a folder
//! on the file system to measure; default the temporary one). Prints a table on stdout.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use datanode_actors::seal::chunk::{ChunkKeys, ChunkType, Place};
use datanode_actors::seal::{self, PackKey, SealPlan};
use datanode_actors::vault::Vault;
use datanode_schema::direct::Direct;
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

struct Args {
    mb: usize,
    chunk: usize,
    threads: usize,
    rounds: usize,
    dir: PathBuf,
}

fn args() -> Result<Args, Failure> {
    let mut args = Args { mb: 256, chunk: seal::DEFAULT_CHUNK, threads: 2, rounds: 3, dir: std::env::temp_dir() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--mb" => args.mb = value()?.parse()?,
            "--chunk-mib" => args.chunk = value()?.parse::<usize>()?.saturating_mul(1 << 20),
            "--threads" => args.threads = value()?.parse()?,
            "--rounds" => args.rounds = value()?.parse()?,
            "--dir" => args.dir = value()?.into(),
            "--bench" => {}
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    Ok(args)
}

/// What something took: wall time, and processor time of all threads, user and system.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    const MAX: Self = Self { wall: Duration::MAX, cpu: Duration::MAX };

    fn of(work: impl FnOnce() -> Result<(), Failure>) -> Result<Self, Failure> {
        let (cpu, start) = (cpu_time(), Instant::now());
        work()?;
        Ok(Self { wall: start.elapsed(), cpu: cpu_time().saturating_sub(cpu) })
    }

    fn min(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu) }
    }

    fn minus(self, other: Self) -> Self {
        Self { wall: self.wall.saturating_sub(other.wall), cpu: self.cpu.saturating_sub(other.cpu) }
    }

    /// This as a percentage of `whole`: (wall, processor).
    fn share(self, whole: Self) -> (f64, f64) {
        let of = |part: Duration, whole: Duration| part.as_secs_f64() / whole.as_secs_f64().max(1e-9) * 100.0;
        (of(self.wall, whole.wall), of(self.cpu, whole.cpu))
    }
}

impl std::ops::Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { wall: self.wall.saturating_add(other.wall), cpu: self.cpu.saturating_add(other.cpu) }
    }
}

fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let time = |value: nix::sys::time::TimeVal| {
        Duration::new(value.tv_sec().unsigned_abs(), value.tv_usec().unsigned_abs() as u32 * 1000)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Bytes like a zstd-compressed parquet file's: pages of noise, short dictionary runs and headers between them.
fn parquet_like(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    for page in bytes.chunks_mut(1 << 20) {
        if let Some(head) = page.get_mut(..2048) {
            head.fill(seed as u8);
        }
    }
    bytes
}

/// Runs one piece of work a chunk over all chunks with the given threads; the best time of some rounds.
fn pass(args: &Args, chunks: &[&[u8]], work: impl Fn(usize, &[u8]) + Sync) -> Cost {
    best(args, || {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..args.threads {
                scope.spawn(|| {
                    while let Some((at, chunk)) = take(&next, chunks) {
                        work(at, chunk);
                    }
                });
            }
        });
    })
}

fn take<'a>(next: &AtomicUsize, chunks: &[&'a [u8]]) -> Option<(usize, &'a [u8])> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    chunks.get(at).map(|chunk| (at, *chunk))
}

fn best(args: &Args, mut work: impl FnMut()) -> Cost {
    let mut once = || {
        Cost::of(|| {
            work();
            Ok(())
        })
        .unwrap_or_default()
    };
    (0..args.rounds.max(1)).fold(Cost::MAX, |best, _| best.min(once()))
}

fn write_pack(dir: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut sums = BTreeMap::new();
    // Files of a month and of a day: longer than a chunk, and shorter.
    let (mut rest, mut number) = (bytes, 0usize);
    while !rest.is_empty() {
        let size = if number.is_multiple_of(4) { 20_000_000 } else { 1_500_000 };
        let (head, tail) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        sums.insert(format!("data/part-{number:05}.parquet"), head);
        (rest, number) = (tail, number.saturating_add(1));
    }
    sums.insert("manifest.json".to_owned(), b"{}\n");
    fs::create_dir_all(dir.join("data"))?;
    let mut list = File::create(dir.join("SHA256SUMS.stable.txt"))?;
    for (path, bytes) in sums {
        fs::write(dir.join(&path), bytes)?;
        writeln!(list, "{}  {path}", hex::encode(Sha256::digest(bytes)))?;
    }
    Ok(())
}

fn peak_rss_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Makes the next [`peak_rss_mb`] count from here (Linux, proc(5) clear_refs).
fn reset_peak() {
    _ = fs::write("/proc/self/clear_refs", "5");
}

struct Table {
    mb: f64,
}

impl Table {
    fn line(&self, name: &str, took: Cost, note: &str) {
        let (wall, cpu) = (took.wall.as_secs_f64(), took.cpu.as_secs_f64());
        let (rate, per_cpu) = (self.mb / wall.max(1e-9), self.mb / cpu.max(1e-9));
        println!("{name:<28} {:>8.1} ms {rate:>7.0} MB/s {per_cpu:>7.0} MB/CPU-s  {note}", wall * 1e3);
    }
}

/// The mandated passes over memory: (of sealing, of opening).
fn passes(args: &Args, table: &Table, chunks: &[&[u8]]) -> (Cost, Cost) {
    let probe = pass(args, chunks, |_, chunk| {
        black_box(zstd::bulk::compress(chunk, 1).map(|small| small.len()).ok());
    });
    table.line("zstd-1 probe", probe, "");
    let (key, nonce, aad) = ([1u8; 32], [2u8; 24], [3u8; 48]);
    let encrypt = aead_pass(args, chunks, |buffer| {
        black_box(seal::raw_encrypt(&key, &nonce, &aad, buffer));
    });
    table.line("XChaCha20-Poly1305 encrypt", encrypt, "in place; decrypting costs the same");
    let blake = pass(args, chunks, |_, chunk| _ = black_box(blake3::hash(chunk)));
    table.line("BLAKE3", blake, "");
    let sha = pass(args, chunks, |_, chunk| _ = black_box(Sha256::digest(chunk)));
    table.line("SHA-256", sha, "");
    let parity = xor_pass(args, chunks);
    table.line("XOR", parity, "the parity of twenty chunks");
    let sealing = probe + encrypt + encrypt + blake + blake + sha + parity;
    table.line("= passes of sealing", sealing, "probe, encrypt, decrypt, BLAKE3 of payload and object, SHA-256, XOR");
    let opening = encrypt + blake + sha;
    table.line("= passes of opening", opening, "BLAKE3, decrypt, SHA-256");
    (sealing, opening)
}

fn xor_pass(args: &Args, chunks: &[&[u8]]) -> Cost {
    best(args, || {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..args.threads {
                scope.spawn(|| {
                    let mut shard = seal::parity::Shard::new();
                    while let Some((_, chunk)) = take(&next, chunks) {
                        shard.add(chunk);
                    }
                    black_box(shard);
                });
            }
        });
    })
}

/// Like [`pass`], on a buffer that each thread keeps and that is filled before the clock of the work runs.
fn aead_pass(args: &Args, chunks: &[&[u8]], work: impl Fn(&mut [u8]) + Sync) -> Cost {
    best(args, || {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..args.threads {
                scope.spawn(|| {
                    let mut buffer = vec![0u8; args.chunk];
                    while let Some((_, chunk)) = take(&next, chunks) {
                        if let Some(buffer) = buffer.get_mut(..chunk.len()) {
                            work(buffer);
                        }
                    }
                });
            }
        });
    })
}

/// Plain files read and written again, without any cipher: what the file system takes.
fn plain_io(args: &Args, table: &Table, chunks: &[&[u8]], dir: &Path) -> Result<(Cost, Cost), Failure> {
    fs::create_dir_all(dir)?;
    let path = |at: usize| dir.join(format!("{at}"));
    let cached = pass(args, chunks, |at, chunk| {
        _ = fs::remove_file(path(at));
        _ = fs::write(path(at), chunk);
    });
    table.line("plain write, page cache", cached, "");
    let write = pass(args, chunks, |at, chunk| {
        _ = fs::remove_file(path(at));
        _ = direct(&path(at), chunk);
    });
    table.line("plain write, past the cache", write, "as sealing and opening write, and as is counted below");
    let read = pass(args, chunks, |at, _| {
        _ = black_box(fs::read(path(at)).map(|bytes| bytes.len()));
    });
    table.line("plain read, page cache", read, "");
    let root = File::open(dir)?;
    let durable = best(args, || {
        for (at, chunk) in chunks.iter().enumerate() {
            _ = fs::remove_file(path(at));
            _ = direct(&path(at), chunk);
        }
        _ = nix::unistd::syncfs(&root);
    });
    table.line("plain write, one sync", durable, "the price of durability alone");
    fs::remove_dir_all(dir)?;
    Ok((read + write, durable.minus(write)))
}

fn direct(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    Direct::new(File::create(path)?).write_all_at(bytes, 0)
}

fn main() -> Result<(), Failure> {
    let args = args()?;
    let dir = tempfile::tempdir_in(&args.dir)?;
    let bytes = parquet_like(1, args.mb << 20);
    let chunks: Vec<&[u8]> = bytes.chunks(args.chunk).collect();
    let table = Table { mb: args.mb as f64 * 1.048_576 };
    println!(
        "{} MiB in chunks of {} MiB, {} threads, best of {}",
        args.mb,
        args.chunk >> 20,
        args.threads,
        args.rounds
    );
    let (sealing, opening) = passes(&args, &table, &chunks);
    for reference in [false, true] {
        let memory = seal_in_memory(&args, &chunks, reference)?;
        let by = if reference { "by RustCrypto" } else { "by the fast cipher, where it agrees with RustCrypto" };
        table.line("chunks sealed in memory", memory, by);
    }
    let (io, fsync) = plain_io(&args, &table, &chunks, &dir.path().join("plain"))?;
    let pack = dir.path().join("pack");
    write_pack(&pack, &bytes)?;
    drop(chunks);
    drop(bytes);
    let key = PackKey::from_bytes([5; 32]);
    let (mut seal_time, mut open_time, mut reference) = (Cost::MAX, Cost::MAX, Cost::MAX);
    let (mut seal_peak, mut open_peak) = (0, 0);
    for round in 0..args.rounds.max(1) {
        let vault = Vault::open(&dir.path().join(format!("vault{round}")))?.with_threads(args.threads);
        let plan = SealPlan {
            pack_dir: &pack,
            pack_uid: [1; 16],
            generation: 0,
            chunk_size: args.chunk,
            threads: args.threads,
            base: None,
        };
        reset_peak();
        seal_time = seal_time.min(Cost::of(|| Ok(_ = seal::seal(&vault, &key, &plan)?))?);
        seal_peak = seal_peak.max(peak_rss_mb());
        let slow = Vault::open(&dir.path().join(format!("reference{round}")))?;
        reference = reference.min(Cost::of(|| Ok(_ = seal::seal_by_reference(&slow, &key, &plan)?))?);
        fs::remove_dir_all(slow.root())?;
        reset_peak();
        let to = dir.path().join("opened");
        open_time = open_time.min(Cost::of(|| Ok(_ = seal::open(&vault, [1; 16], &key, &to, None)?))?);
        open_peak = open_peak.max(peak_rss_mb());
        fs::remove_dir_all(to)?;
        fs::remove_dir_all(vault.root())?;
    }
    table.line("seal", seal_time, "");
    table.line("seal by RustCrypto", reference, "the same bytes");
    table.line("open", open_time, "");
    for (name, alone, whole) in [("seal", sealing, seal_time), ("open", opening, open_time)] {
        for (what, part) in
            [("passes", alone), ("passes + plain I/O", alone + io), ("both + one sync", alone + io + fsync)]
        {
            let (wall, cpu) = part.share(whole);
            println!(
                "{name}: {what:<20} alone take {wall:>4.0} % of its wall time, {cpu:>4.0} % of its processor time"
            );
        }
    }
    println!("peak RSS: seal {seal_peak} MiB, open {open_peak} MiB");
    Ok(())
}

fn seal_in_memory(args: &Args, chunks: &[&[u8]], reference: bool) -> Result<Cost, Failure> {
    let keys = ChunkKeys::new(&PackKey::from_bytes([5; 32])).ok_or("key")?;
    let count = u32::try_from(chunks.len())?;
    Ok(best(args, || {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..args.threads {
                scope.spawn(|| {
                    let Ok(mut sealer) = seal::chunk::Sealer::new() else { return };
                    if reference {
                        sealer = sealer.by_reference();
                    }
                    while let Some((at, chunk)) = take(&next, chunks) {
                        let index = u32::try_from(at).unwrap_or(0);
                        let place = Place { kind: ChunkType::Data, pack_uid: [1; 16], generation: 0, index, count };
                        black_box(sealer.seal(&keys, &place, chunk).map(<[u8]>::len).ok());
                    }
                });
            }
        });
    }))
}
