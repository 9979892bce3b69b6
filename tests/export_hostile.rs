//! Packs that somebody made to do harm, through `datanode pack verify`: each has its exit code and its words, nothing outside is
//! read, and memory stays bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::files::sha256_hex;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{DATANODE, Ran, run};

/// A good pack of two files, made by hand.
struct Pack {
    dir: tempfile::TempDir,
    manifest: Value,
}

const TWO: [&str; 2] = ["data/equities_bars/year=2025/month=06/data.parquet", "data/qc/partition_status.parquet"];

impl Pack {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hash = "0".repeat(64);
        let mut pack = Self {
            dir,
            manifest: json!({
                "schema_version": 1, "export_id": "20250702T230000Z_home_full", "created_at_utc": "2025-07-02T23:00:00Z",
                "source": "home", "time_window": {"start": "2025-06-02", "end": "2025-06-30"},
                "producer": {"host_id": "h", "version": "1", "git_sha": null, "image": null}, "repo_head": null,
                "calendar": {"name": "XNYS", "version": "1", "sha256": hash}, "config_sha256": hash, "files": [],
                "qc": {"green": 1, "amber": 0, "red": 0, "pending": 0, "excluded": []}, "base_export_id": null, "notes": null
            }),
        };
        for (i, path) in TWO.iter().enumerate() {
            pack.add(path, format!("bytes of file {i}").as_bytes());
        }
        pack.seal();
        pack
    }
    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
    /// Writes a file and lists it.
    fn add(&mut self, path: &str, bytes: &[u8]) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), bytes).unwrap();
        self.list(path, &sha256_hex(bytes), bytes.len() as u64);
    }
    /// Lists a file, wherever it leads.
    fn list(&mut self, path: &str, sha256: &str, bytes: u64) {
        let window = json!({"start": "2025-06-02", "end": "2025-06-30"});
        let file = json!({"path": path, "sha256": sha256, "bytes": bytes, "rows": 1, "dataset": "equities_bars", "window": window});
        self.manifest["files"].as_array_mut().unwrap().push(file);
    }
    /// Writes manifest and sums that agree with each other.
    fn seal(&self) {
        self.seal_text(&serde_json::to_vec_pretty(&self.manifest).unwrap());
    }
    fn seal_text(&self, text: &[u8]) {
        std::fs::write(self.at("manifest.json"), text).unwrap();
        let files = self.manifest["files"].as_array().unwrap();
        let mut lines: Vec<(String, String)> =
            files.iter().map(|f| (str_of(&f["path"]), str_of(&f["sha256"]))).collect();
        lines.push(("manifest.json".into(), sha256_hex(text)));
        lines.sort();
        let text: String = lines.iter().map(|(p, s)| format!("{s}  {p}\n")).collect();
        std::fs::write(self.at("SHA256SUMS.stable.txt"), text).unwrap();
    }
    fn verify(&self) -> Ran {
        verify(self.dir.path())
    }
    /// Verifies where no more than 300 MB may be allocated: more ends the process.
    fn verify_small(&self) -> Ran {
        let mut c = Command::new("sh");
        c.args(["-c", "ulimit -d 300000 && exec \"$@\"", "sh", DATANODE, "pack", "verify"]).arg(self.dir.path());
        run(&mut c)
    }
}

fn str_of(v: &Value) -> String {
    v.as_str().unwrap().to_owned()
}

fn verify(path: &Path) -> Ran {
    let began = Instant::now();
    let ran = run(Command::new(DATANODE).args(["pack", "verify"]).arg(path));
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    ran
}

#[test]
fn a_pack_made_by_hand_is_good() {
    Pack::new().verify().exits(0);
}

#[test]
fn paths_that_are_twice_absolute_climbing_nul_or_endless_exit_4_in_manifest_and_sums() {
    let long = format!("data/{}x", "a/".repeat(4_997));
    let cases = [
        ("/etc/hostname", "is absolute"),
        ("data/../../x", "leaves the pack"),
        ("data/./x", "leaves the pack"),
        ("data//x", "empty component"),
        ("data/a\0b", "NUL"),
        ("data/a\nb", "control character"),
        (long.as_str(), "longer than 1024 bytes"),
        (&format!("data/{}", "a".repeat(300)), "longer than 255 bytes"),
    ];
    for (path, says) in cases {
        // In the manifest alone, and in both.
        let mut p = Pack::new();
        p.seal();
        let good = std::fs::read_to_string(p.at("SHA256SUMS.stable.txt")).unwrap();
        p.list(path, &"0".repeat(64), 1);
        let text = serde_json::to_vec_pretty(&p.manifest).unwrap();
        std::fs::write(p.at("manifest.json"), &text).unwrap();
        let own = sha256_hex(&text);
        let line =
            |l: &str| if l.ends_with("manifest.json") { format!("{own}  manifest.json\n") } else { format!("{l}\n") };
        std::fs::write(p.at("SHA256SUMS.stable.txt"), good.lines().map(line).collect::<String>()).unwrap();
        let ran = p.verify().exits(4).says(&["manifest.json", says]);
        assert!(ran.err.len() < 2_000, "{} bytes of complaint", ran.err.len());
        if !path.contains('\n') {
            let sums = std::fs::read_to_string(p.at("SHA256SUMS.stable.txt")).unwrap();
            std::fs::write(p.at("SHA256SUMS.stable.txt"), format!("{}  {path}\n{sums}", "0".repeat(64))).unwrap();
            let ran = p.verify().exits(4).says(&["SHA256SUMS.stable.txt:1", says]);
            assert!(ran.err.len() < 2_000, "{} bytes of complaint", ran.err.len());
        }
    }
    let mut p = Pack::new();
    p.list(TWO[1], &"0".repeat(64), 1);
    let text = serde_json::to_vec(&p.manifest).unwrap();
    p.manifest["files"].as_array_mut().unwrap().pop();
    p.seal_text(&text);
    p.verify().exits(4).says(&["named twice", TWO[1]]);
    let sums = std::fs::read_to_string(p.at("SHA256SUMS.stable.txt")).unwrap();
    let twice: String = sums.lines().flat_map(|l| [format!("{l}\n"), format!("{l}\n")]).collect();
    std::fs::write(p.at("SHA256SUMS.stable.txt"), twice).unwrap();
    p.verify().exits(3).says(&["out of order or twice"]);
    let mut p = Pack::new();
    p.list("data/qc/partition_status.parquet/inside", &"0".repeat(64), 1);
    let text = serde_json::to_vec(&p.manifest).unwrap();
    p.manifest["files"].as_array_mut().unwrap().pop();
    p.seal_text(&text);
    p.verify().exits(4).says(&["lies inside another file"]);
}

#[test]
fn links_pipes_and_devices_in_a_pack_exit_4_and_hold_nobody() {
    let outside = tempfile::tempdir().unwrap();
    // A file behind a link, with the right bytes.
    let p = Pack::new();
    std::fs::rename(p.at(TWO[1]), outside.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("moved"), p.at(TWO[1])).unwrap();
    p.verify().exits(4).says(&[TWO[1], "neither a file nor a folder"]);
    // A folder behind a link: what lies in it is not opened, where a pipe would hold the reader.
    let p = Pack::new();
    std::fs::remove_dir_all(p.at("data/qc")).unwrap();
    nix::unistd::mkfifo(&outside.path().join("partition_status.parquet"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink(outside.path(), p.at("data/qc")).unwrap();
    p.verify().exits(4).says(&["data/qc: neither a file nor a folder"]);
    for name in ["manifest.json", "SHA256SUMS.stable.txt", TWO[0]] {
        let p = Pack::new();
        std::fs::remove_file(p.at(name)).unwrap();
        nix::unistd::mkfifo(&p.at(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        p.verify().exits(4).says(&[name]);
        std::fs::remove_file(p.at(name)).unwrap();
        std::os::unix::fs::symlink("/dev/zero", p.at(name)).unwrap();
        p.verify().exits(4).says(&[name]);
    }
    let p = Pack::new();
    for name in ["manifest.json", "SHA256SUMS.stable.txt"] {
        std::fs::remove_file(p.at(name)).unwrap();
        nix::unistd::mkfifo(&p.at(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    p.verify().exits(4).says(&["manifest.json: not a plain file", "SHA256SUMS.stable.txt: not a plain file"]);
}

#[test]
fn sizes_that_lie_exit_3_and_sizes_that_cannot_be_exit_4() {
    for bytes in [0u64, 1, 1 << 40] {
        let mut p = Pack::new();
        p.manifest["files"][0]["bytes"] = json!(bytes);
        p.seal();
        p.verify().exits(3).says(&[TWO[0], "15 bytes, where manifest.json says", &bytes.to_string()]);
    }
    let text = serde_json::to_string(&Pack::new().manifest).unwrap();
    for (number, says) in [
        ("18446744073709551615", "out of range"),
        ("-1", "expected u64"),
        ("1e400", "number out of range"),
        ("15.5", "expected u64"),
    ] {
        for field in ["bytes", "rows"] {
            let p = Pack::new();
            let old = if field == "bytes" { "\"bytes\":15" } else { "\"rows\":1" };
            assert!(text.contains(old));
            p.seal_text(text.replacen(old, &format!("\"{field}\":{number}"), 1).as_bytes());
            p.verify().exits(4).says(&["manifest.json", says]);
        }
    }
}

#[test]
fn ten_million_files_are_refused_in_bounded_memory() {
    let mut p = Pack::new();
    let head = serde_json::to_string(&p.manifest).unwrap();
    let (before, after) = head.split_once("\"files\":[").unwrap();
    let after = after.split_once("],\"notes\"").unwrap().1;
    // Ten million of the shortest entries; as many real ones as the text may hold; and a text that is longer than any.
    let text = format!("{before}\"files\":[{}{{}}],\"notes\"{after}", "{},".repeat(9_999_999));
    p.seal_text(text.as_bytes());
    p.verify_small().exits(4).says(&["10000000 files; more than 150000 are refused"]);
    drop(text);
    let hash = "0".repeat(64);
    p.manifest["files"] = json!([]);
    for i in 0..149_999 {
        p.list(&format!("data/equities_bars/part={i:07}/data.parquet"), &hash, 1);
    }
    p.seal();
    let ran = p.verify_small().exits(3);
    assert!(ran.err.contains("part=0149998/data.parquet: missing"), "every one is looked for");
    let p = Pack::new();
    let file = std::fs::OpenOptions::new().write(true).open(p.at("manifest.json")).unwrap();
    file.set_len(3 << 30).unwrap();
    p.verify_small().exits(4).says(&["manifest.json: 3221225472 bytes; more than 67108864 are not read"]);
    let p = Pack::new();
    let line = format!("{hash}  data/");
    let sums: String = (0..700_000).map(|i| format!("{line}{i:07}\n")).collect();
    std::fs::write(p.at("SHA256SUMS.stable.txt"), sums).unwrap();
    p.verify_small().exits(3).says(&["more files than a pack has"]);
    let reasons = "\"aa\",".repeat(10_000_000);
    let text = head.replacen("\"excluded\":[]", &format!("\"excluded\":[{{\"reasons\":[{reasons}\"a\"]}}]"), 1);
    p.seal_text(text.as_bytes());
    p.verify_small().exits(4).says(&["10000001 reasons; more than"]);
}

#[test]
fn deep_nesting_and_huge_texts_exit_4_with_short_words() {
    let text = serde_json::to_string(&Pack::new().manifest).unwrap();
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    for (old, new, says) in [
        ("\"notes\":null", format!("\"notes\":{deep}"), "invalid type"),
        ("\"notes\":null", format!("\"surprise\":{deep},\"notes\":null"), "unknown field"),
        ("\"files\":[", format!("\"files\":[{deep},"), ""),
        ("\"notes\":null", format!("\"notes\":\"{}\"", "x".repeat(20_000_000)), "notes is empty or longer than 4096"),
        ("\"source\":\"home\"", format!("\"source\":\"{}\"", "x".repeat(20_000_000)), "export_id"),
        ("\"host_id\":\"h\"", format!("\"host_id\":\"{}\"", "x".repeat(20_000_000)), "producer.host_id"),
        ("\"notes\":null", format!("\"{}\":1,\"notes\":null", "k".repeat(5_000_000)), "unknown field"),
    ] {
        let p = Pack::new();
        assert!(text.contains(old), "{old}");
        p.seal_text(text.replacen(old, &new, 1).as_bytes());
        let ran = p.verify_small().exits(4).says(&["manifest.json", says]);
        assert!(ran.err.len() < 20_000, "{} bytes of complaint about {says}", ran.err.len());
    }
}

#[test]
fn a_table_that_would_fill_the_memory_is_compared_and_never_decoded() {
    let Some(python) = std::env::var_os("DATANODE_PYTHON") else {
        eprintln!("SKIPPED: DATANODE_PYTHON names no Python with fixtures/requirements.txt installed");
        return;
    };
    let mut p = Pack::new();
    let file = p.at("bomb");
    // Half a billion rows of one value: two megabytes here, four gigabytes in memory.
    let script = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
        t = pa.table({'x': pa.array([0.0]).take(pa.array([0] * 5_000_000))})\n\
        w = pq.ParquetWriter(sys.argv[1], t.schema, compression='zstd')\n\
        [w.write_table(t) for _ in range(100)]\nw.close()";
    run(Command::new(python).args(["-c", script]).arg(&file)).exits(0);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(bytes.len() < 4 << 20, "{} bytes", bytes.len());
    p.manifest["files"] = json!([]);
    std::fs::remove_dir_all(p.at("data")).unwrap();
    p.add(TWO[0], &bytes);
    p.manifest["files"][0]["rows"] = json!(500_000_000);
    p.seal();
    p.verify_small().exits(0);
}

#[test]
fn a_folder_of_strangers_is_told_in_bounded_words() {
    let p = Pack::new();
    for i in 0..5_000 {
        std::fs::File::create(p.at(&format!("data/{i}"))).unwrap().write_all(b"x").unwrap();
    }
    let ran = p.verify().exits(3).says(&["not listed in SHA256SUMS.stable.txt", "and more that is not listed"]);
    assert!(ran.err.lines().count() < 1_100, "{} lines", ran.err.lines().count());
}
