//! `Range`: one range of bytes (RFC 9110, 14.1.2). What is not understood is not a range, and the whole is served.

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From this byte so many.
    Of(u64, u64),
    /// Nothing that it has.
    Nothing,
}

/// The part of a file of `len` bytes that a header asks for.
pub fn part(header: Option<&str>, len: u64) -> Part {
    let Some((first, last)) = header.and_then(|h| h.trim().strip_prefix("bytes=")).and_then(|r| r.split_once('-'))
    else {
        return Part::Whole;
    };
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u64>().ok()).flatten();
    match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            None => Part::Whole,
            Some(0) => Part::Nothing,
            Some(_) if len == 0 => Part::Nothing,
            Some(n) => Part::Of(len.saturating_sub(n), n.min(len)),
        },
        (first, last) => {
            let Some(from) = number(first) else { return Part::Whole };
            let to = match last {
                "" => u64::MAX,
                last => match number(last) {
                    Some(to) if to >= from => to,
                    _ => return Part::Whole,
                },
            };
            match len.checked_sub(1) {
                Some(end) if from <= end => Part::Of(from, to.min(end) - from + 1),
                _ => Part::Nothing,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (header, want) in [
            ("bytes=0-0", Part::Of(0, 1)),
            ("bytes=2-", Part::Of(2, 8)),
            ("bytes=-3", Part::Of(7, 3)),
            ("bytes=-30", Part::Of(0, 10)),
            ("bytes=5-99", Part::Of(5, 5)),
            ("bytes=10-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=5-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=18446744073709551615-", Part::Nothing),
            ("bytes=0-18446744073709551615", Part::Of(0, 10)),
        ] {
            assert_eq!(part(Some(header), 10), want, "{header}");
        }
        assert_eq!((part(None, 10), part(Some("bytes=0-"), 0)), (Part::Whole, Part::Nothing));
    }
}
