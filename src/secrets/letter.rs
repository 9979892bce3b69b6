//! `age:PATH#FIELD`: a file of lines `NAME=value`, encrypted to the node's key (`age -r $(datanode key list …) -o secrets.age`), opened in
//! memory alone.

use datanode_actors::seal::{Identity, letter};
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// A longer file, or text, is none.
const MOST: u64 = 64 << 10;

/// One field of a file; `place` is `PATH#FIELD`.
///
/// # Errors
/// What is wrong, without what is in it.
pub fn read(place: &str, key: Option<&Path>) -> Result<Zeroizing<String>, String> {
    let (path, field) = place
        .rsplit_once('#')
        .filter(|(path, field)| !path.is_empty() && !field.is_empty())
        .ok_or("age:PATH#FIELD names a file and one of its fields")?;
    let key = key.ok_or("no key to open it with; set seal.key_file")?;
    let identity = Identity::read(key).map_err(|e| e.to_string())?;
    let file = std::fs::File::open(path).map_err(|e| format!("{path} cannot be opened: {e}"))?;
    let identities = [identity];
    let opened = letter::read(file.take(MOST), &identities);
    let shut = |e: String| {
        format!(
            "{path} does not open with the node's key {}: {e}; encrypt it to the key that `datanode key list` shows",
            key.display()
        )
    };
    let mut text = Zeroizing::new(String::with_capacity(MOST as usize + 1));
    opened.map_err(|e| shut(e.to_string()))?.take(MOST).read_to_string(&mut text).map_err(|e| shut(e.to_string()))?;
    let mut found = text.lines().filter_map(|l| l.split_once('=')).filter(|(name, _)| name.trim() == field);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Ok(Zeroizing::new(value.trim().trim_matches('"').to_owned())),
        (Some(_), Some(_)) => Err(format!("{path} has {field} more than once")),
        (None, _) => Err(format!("{path} has no line {field}=…")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_actors::seal::letter::Letter;
    use std::io::Write;

    #[test]
    fn a_field_of_an_encrypted_file_is_read_and_nothing_else_of_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (Identity::generate(), Identity::generate());
        let (key, wrong) = (dir.path().join("key"), dir.path().join("wrong"));
        own.write_new(&key).unwrap();
        other.write_new(&wrong).unwrap();
        let mut w = Letter::to(&[own.to_public()], Vec::new()).unwrap();
        w.write_all(b"# keys\nA=hush\nB=\"quoted\"\nTWICE=1\nTWICE=2\n").unwrap();
        let path = dir.path().join("secrets.age");
        std::fs::write(&path, w.finish().unwrap()).unwrap();
        let at = |field: &str| format!("{}#{field}", path.display());
        assert_eq!(*read(&at("A"), Some(&key)).unwrap(), "hush");
        assert_eq!(*read(&at("B"), Some(&key)).unwrap(), "quoted");
        for (field, key, says) in
            [("C", &key, "no line C"), ("TWICE", &key, "more than once"), ("A", &wrong, "does not open")]
        {
            let e = read(&at(field), Some(key)).unwrap_err();
            assert!(e.contains(says) && !e.contains("hush"), "{e}");
        }
        assert!(read("nothing", Some(&key)).is_err() && read(&at("A"), None).is_err());
    }
}
