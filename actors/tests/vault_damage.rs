//! Seeded damage to every kind of file of a vault: all of it is found and rightly named, what redundancy permits comes back byte for
//! byte, the rest is listed, and no wrong byte is ever put in place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use datanode_actors::objects::Access;
use datanode_actors::seal::{self, Descriptor, Identity, PackKey, PackUid, SealPlan, Unwraps};
use datanode_actors::vault::{
    CheckPlan, Class, Copies, Depth, Log, Logged, Remote, RepairPlan, Vault, check_vault, repair_vault,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use seal_support::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// The first generation, the one that replaced it, and a pack that borrows from that.
const OLD: PackUid = [0x10; 16];
const NEW: PackUid = [0x11; 16];
const LATER: PackUid = [0x22; 16];

struct World {
    dir: tempfile::TempDir,
    vault: Vault,
    identity: Identity,
    log: Log,
    /// Every file of the sound vault.
    sound: BTreeMap<String, Vec<u8>>,
    descriptors: BTreeMap<PackUid, Descriptor>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(&dir.path().join("vault")).unwrap().with_threads(2);
        let identity = Identity::generate();
        let mut files = mixed_files();
        files.push(("data/y/more.parquet", noise("more", 16 * CHUNK + 99)));
        write_pack(&dir.path().join("first"), &files);
        files.push(("data/z/new.parquet", noise("new", 2 * CHUNK + 5)));
        write_pack(&dir.path().join("second"), &files);
        let prepare = |uid| seal::prepare(&vault, uid, &[identity.to_public()], &identity).unwrap();
        let keys: BTreeMap<PackUid, PackKey> = [OLD, NEW, LATER].into_iter().map(|u| (u, prepare(u))).collect();
        let plan = |uid, generation, base: Option<PackUid>| {
            let pack_dir = dir.path().join(if uid == LATER { "second" } else { "first" });
            let base = base.map(|b| seal::Base { pack_uid: b, key: &keys[&b] });
            let plan = SealPlan { pack_dir: &pack_dir, pack_uid: uid, generation, chunk_size: CHUNK, threads: 2, base };
            (uid, seal::seal(&vault, &keys[&uid], &plan).unwrap().descriptor)
        };
        let descriptors: BTreeMap<_, _> =
            [plan(OLD, 0, None), plan(NEW, 1, None), plan(LATER, 0, Some(NEW))].into_iter().collect();
        assert!(descriptors[&NEW].parity.objects.len() >= 2, "more than one group");
        assert_eq!(descriptors[&LATER].requires, [NEW]);
        let logged = |d: &Descriptor| Logged {
            generation: d.generation,
            root: d.merkle_root,
            descriptor_sha256: Sha256::digest(d.encode().unwrap()).into(),
        };
        let log = descriptors.iter().map(|(u, d)| (*u, logged(d))).collect();
        let sound = tree(vault.root());
        let replica = dir.path().join("replica");
        for (name, bytes) in &sound {
            let to = replica.join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
        Self { dir, vault, identity, log, sound, descriptors }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.vault.root().join(name)
    }

    /// Names of one kind.
    fn names(&self, kind: Kind) -> Vec<String> {
        let d = self.descriptors.values();
        let objects = |of: &dyn Fn(&Descriptor) -> Vec<seal::ObjectRef>| -> Vec<String> {
            d.clone().flat_map(of).map(|o| name_of(&o.object_blake3)).collect()
        };
        match kind {
            Kind::Data => objects(&|d| d.data_objects.clone()),
            Kind::Manifest => objects(&|d| d.manifest_objects.clone()),
            Kind::Parity => objects(&|d| d.parity.objects.clone()),
            Kind::Descriptor => {
                self.descriptors.keys().map(|u| format!("descriptors/{}.json", hex::encode(u))).collect()
            }
            Kind::Stanza => self.descriptors.keys().map(|u| format!("stanzas/{}.age", hex::encode(u))).collect(),
            Kind::Sum => self.descriptors.keys().map(|u| format!("stanzas/{}.age.sha256", hex::encode(u))).collect(),
        }
    }

    fn check(&self, key: Option<&Identity>, log: &Log) -> datanode_actors::vault::CheckReport {
        let identity = key.map(|k| k as &dyn Unwraps);
        check_vault(&self.vault, &CheckPlan { depth: Depth::Read, share: None, identity, log }).unwrap()
    }

    fn repair(&self, with: With, key: bool) -> datanode_actors::vault::Repaired {
        let remote =
            Remote::open(&Access { url: self.dir.path().join("replica").display().to_string(), ..Access::default() })
                .unwrap();
        let plain = |d: &Descriptor, _: Option<&seal::SealedManifest>| {
            vec![self.dir.path().join(if d.pack_uid == LATER { "second" } else { "first" })]
        };
        let plan = RepairPlan {
            identity: key.then_some(&self.identity as &dyn Unwraps),
            copies: if with.replica { vec![&remote as &dyn Copies] } else { Vec::new() },
            plain: if with.plain { Some(&plain) } else { None },
            log: &self.log,
            dry_run: false,
            now: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        repair_vault(&self.vault, &plan).unwrap()
    }

    /// The vault as it was, whatever was done to it.
    fn restore(&self) {
        let now = tree(self.vault.root());
        for name in now.keys().filter(|n| !self.sound.contains_key(*n)) {
            fs::remove_file(self.path(name)).unwrap();
        }
        for (name, bytes) in self.sound.iter().filter(|(n, b)| now.get(*n) != Some(b)) {
            fs::write(self.path(name), bytes).unwrap();
        }
    }

    /// Objects of the same parity group, by name; nothing where it has none.
    fn group(&self, name: &str) -> Option<(PackUid, u32)> {
        for (uid, d) in &self.descriptors {
            for (leaf, o) in (0u32..).zip(d.leaves()) {
                if name_of(&o.object_blake3) == name {
                    let parity = leaf.checked_sub(d.chunk_count);
                    return Some((*uid, parity.unwrap_or_else(|| d.group_of(leaf).0)));
                }
            }
        }
        None
    }
}

fn name_of(hash: &[u8; 32]) -> String {
    let name = hex::encode(hash);
    format!("chunks/{}/{name}", &name[..2])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Manifest,
    Parity,
    Descriptor,
    Stanza,
    Sum,
}

const KINDS: [Kind; 6] = [Kind::Data, Kind::Manifest, Kind::Parity, Kind::Descriptor, Kind::Stanza, Kind::Sum];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Flip,
    Truncate,
    Zero,
    Swap,
    Replay,
    Drop,
    Duplicate,
    Grow,
}

const HARMS: [Harm; 8] =
    [Harm::Flip, Harm::Truncate, Harm::Zero, Harm::Swap, Harm::Replay, Harm::Drop, Harm::Duplicate, Harm::Grow];

#[derive(Clone, Copy, Debug)]
struct With {
    replica: bool,
    plain: bool,
}

/// Does it to files of a kind; the names whose bytes are others now.
fn harm(w: &World, kind: Kind, harm: Harm, class: u32, random: &mut StdRng) -> BTreeSet<String> {
    let names = w.names(kind);
    let name = names[random.random_range(0..names.len())].clone();
    let bytes = &w.sound[&name];
    // Where it happens: a field of the header, the body, the tag, the last byte.
    let at = match class {
        0 => random.random_range(0..bytes.len().min(104)),
        1 => random.random_range(bytes.len() / 2..bytes.len()),
        2 => bytes.len().saturating_sub(random.random_range(1..=16usize)),
        _ => bytes.len() - 1,
    };
    let mut new = bytes.clone();
    let write = |name: &str, bytes: &[u8]| fs::write(w.path(name), bytes).unwrap();
    match harm {
        Harm::Flip => {
            new[at] ^= 1 << random.random_range(0..8);
            write(&name, &new);
        }
        Harm::Truncate => {
            new.truncate(at);
            write(&name, &new);
        }
        Harm::Zero => {
            let end = (at + random.random_range(1..64usize)).min(new.len());
            new[at..end].fill(0);
            write(&name, &new);
        }
        Harm::Grow => {
            new.splice(at..at, [0x5a].into_iter().take(1));
            write(&name, &new);
        }
        Harm::Drop => _ = fs::remove_file(w.path(&name)),
        Harm::Swap | Harm::Duplicate | Harm::Replay => {
            // Replayed is what stands at the same place of the first generation.
            let old = hex::encode(OLD);
            let other = match (harm, kind) {
                (Harm::Replay, Kind::Descriptor | Kind::Stanza | Kind::Sum) => {
                    names.iter().find(|n| n.contains(&old)).unwrap().clone()
                }
                (Harm::Replay, _) => {
                    let first = names_of_old(w, kind);
                    first[random.random_range(0..first.len())].clone()
                }
                _ => names[random.random_range(0..names.len())].clone(),
            };
            write(&name, &w.sound[&other]);
            if harm == Harm::Swap {
                write(&other, bytes);
            }
        }
    }
    let now = tree(w.vault.root());
    w.sound.iter().filter(|(n, b)| now.get(*n) != Some(b)).map(|(n, _)| n.clone()).collect()
}

fn names_of_old(w: &World, kind: Kind) -> Vec<String> {
    let d = &w.descriptors[&OLD];
    let of = match kind {
        Kind::Manifest => &d.manifest_objects,
        Kind::Parity => &d.parity.objects,
        _ => &d.data_objects,
    };
    of.iter().map(|o| name_of(&o.object_blake3)).collect()
}

/// Whether redundancy permits to bring back all of what was harmed.
fn can_be_repaired(w: &World, kind: Kind, harmed: &BTreeSet<String>, with: With, key: bool) -> bool {
    if with.replica {
        return true;
    }
    match kind {
        Kind::Descriptor | Kind::Stanza => false,
        Kind::Sum => key,
        Kind::Data | Kind::Manifest | Kind::Parity => {
            let mut lost: BTreeMap<(PackUid, u32), usize> = BTreeMap::new();
            for name in harmed {
                *lost.entry(w.group(name).unwrap()).or_default() += 1;
            }
            lost.values().all(|n| *n == 1) || (with.plain && key && kind == Kind::Data)
        }
    }
}

/// One case; what it did, for the count.
fn case(w: &World, n: u64) -> (bool, bool) {
    let mut random = StdRng::seed_from_u64(n);
    let kind = KINDS[(n % 6) as usize];
    let what = HARMS[(n / 6 % 8) as usize];
    let class = (n / 48 % 4) as u32;
    let with = With { replica: n / 192 % 2 == 1, plain: n / 384 % 2 == 1 };
    let key = n % 5 != 4;
    let mut harmed = harm(w, kind, what, class, &mut random);
    if n % 7 == 3 {
        // Several of a kind at once, which may be more than parity makes up for.
        for _ in 0..random.random_range(1..4) {
            harmed.extend(harm(w, kind, what, class, &mut random));
            let now = tree(w.vault.root());
            harmed.retain(|n| now.get(n) != w.sound.get(n));
        }
    }
    let told = format!("case {n}: {kind:?} {what:?} class {class} {with:?} key {key}: {harmed:?}");
    if harmed.is_empty() {
        // Two that were swapped were the same file.
        w.restore();
        return (false, false);
    }
    // Found, all of it, nothing besides, and called what it is.
    let report = w.check(key.then_some(&w.identity), &w.log);
    let mut found: BTreeSet<String> = report.bad().map(|f| f.subject.path()).collect();
    for f in report.bad() {
        assert_eq!(f.class, Some(Class::StorageRot), "{told}: {f}");
    }
    if matches!(kind, Kind::Stanza | Kind::Sum) {
        // Which of the two was altered only a key can say: the sealing is what is named.
        let of = |all: &BTreeSet<String>| all.iter().map(|n| n[8..40].to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(of(&found), of(&harmed), "{told}");
    } else {
        if kind == Kind::Descriptor {
            // What a sealing holds is not known without its descriptor.
            found.retain(|n| n.starts_with("descriptors/"));
        }
        assert_eq!(found, harmed, "{told}");
    }
    let done = w.repair(with, key);
    let after = tree(w.vault.root());
    let wrong: Vec<&String> = w.sound.iter().filter(|(n, b)| after.get(*n) != Some(b)).map(|(n, _)| n).collect();
    let whole = can_be_repaired(w, kind, &harmed, with, key);
    if whole {
        assert!(
            wrong.is_empty() && done.left.is_empty(),
            "{told}: not repaired: {wrong:?} {:?} {:?}",
            done.left,
            done.steps
        );
        assert!(w.check(Some(&w.identity), &w.log).bad().next().is_none(), "{told}");
    } else {
        let left: BTreeSet<String> = done.left.iter().map(|f| f.subject.path()).collect();
        let stanza = matches!(kind, Kind::Stanza | Kind::Sum);
        assert!(stanza || wrong.iter().all(|n| left.contains(*n)), "{told}: {wrong:?} is not all listed: {left:?}");
        assert_eq!(wrong.is_empty(), done.left.is_empty(), "{told}");
    }
    // Nothing was put in place but what was there, and what was bad is kept.
    for (name, bytes) in after.iter().filter(|(n, _)| w.sound.contains_key(*n)) {
        assert!(harmed.contains(name) || w.sound[name] == *bytes, "{told}: {name} was touched");
    }
    if n.is_multiple_of(10) || !wrong.is_empty() && n.is_multiple_of(3) {
        opens_alike_or_not(w, &told, wrong.is_empty());
    }
    w.restore();
    (true, whole)
}

/// Opening gives the pack byte for byte, or nothing.
fn opens_alike_or_not(w: &World, told: &str, whole: bool) {
    for (uid, pack) in [(NEW, "first"), (LATER, "second")] {
        let to = w.dir.path().join("opened");
        let opened =
            seal::unwrap_key(&w.vault, uid, &w.identity).and_then(|key| seal::open(&w.vault, uid, &key, &to, None));
        match opened {
            Ok(_) => {
                assert!(tree(&to) == tree(&w.dir.path().join(pack)), "{told}: opened to other bytes");
                fs::remove_dir_all(&to).unwrap();
            }
            Err(e) => {
                assert!(!whole, "{told}: {e}");
                assert!(!to.exists(), "{told}");
            }
        }
    }
}

#[test]
fn whatever_is_done_to_a_vault_is_found_named_and_repaired_as_far_as_redundancy_goes() {
    const CASES: u64 = 2400;
    let count = |first: u64| {
        let w = World::new();
        let (mut cases, mut repaired) = (0, 0);
        for n in (first..CASES).step_by(2) {
            let (was, whole) = case(&w, n);
            cases += u32::from(was);
            repaired += u32::from(whole);
        }
        assert!(w.check(Some(&w.identity), &w.log).findings.is_empty());
        (cases, repaired)
    };
    let (a, b) = std::thread::scope(|s| {
        let other = s.spawn(|| count(1));
        (count(0), other.join().unwrap())
    });
    let (cases, repaired) = (a.0 + b.0, a.1 + b.1);
    eprintln!("{cases} cases, {repaired} repaired, {} listed", cases - repaired);
    assert!(cases >= 2000 && repaired >= 1200 && cases - repaired >= 200, "{cases} {repaired}");
}
