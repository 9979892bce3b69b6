//! Paths and queries: taken apart as they come, put together so that nothing in a name can end them.

/// Most bytes of a path, most of a query.
const LONGEST: usize = 2048;

/// The decoded parts of a path; None where one is no UTF-8, or empty in the middle.
pub(super) fn parts(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix('/').filter(|p| p.len() <= LONGEST)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner.split('/').map(|p| decoded(p, false).filter(|p| !p.is_empty())).collect()
}

fn decoded(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                let digits = pair.iter().all(u8::is_ascii_hexdigit).then_some(&pair)?;
                out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            }
            b'+' if plus => out.push(b' '),
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok().filter(|t| !t.chars().any(char::is_control))
}

/// A name as a part of a path, or a value in a query.
pub(super) fn part(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for b in name.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// The parameters of a request; the first of each name counts.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// What cannot be read is not there.
    pub(super) fn new(text: &str) -> Self {
        let text = if text.len() <= LONGEST { text } else { "" };
        let pair = |p: &str| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            Some((decoded(name, true)?, decoded(value, true)?))
        };
        Self(text.split('&').filter_map(pair).collect())
    }

    /// A parameter; empty where it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }

    /// A number; 0 where it is not there or is none.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_together_is_taken_apart_again() {
        for name in ["AAPL", "BRK.B", "a/b", "100%", "ü<x>\"'", "a b+c&d=e", "..", "?#"] {
            let path = format!("/cell/x/{}/2024-01-02", part(name));
            assert_eq!(parts(&path).unwrap(), ["cell", "x", name, "2024-01-02"], "{path}");
            assert_eq!(Query::new(&format!("a=1&from={}", part(name))).text("from"), name);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        assert_eq!(parts("/"), Some(vec![]));
        assert_eq!(parts("/runs/").unwrap(), ["runs"]);
        for bad in ["", "runs", "/a//b", "/%", "/%zz", "/%+1", "/%ff", "/a%00", "//x"] {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
        let q = Query::new("a&b=%zz&c=x+y&n=12&n=13&m=-1");
        assert_eq!((q.text("a"), q.text("b"), q.text("c"), q.number("n"), q.number("m")), ("", "", "x y", 12, 0));
        assert_eq!(parts(&format!("/{}", "x".repeat(3000))), None);
    }
}
