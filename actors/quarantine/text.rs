//! Lines of text: what people write is checked, what the node saw is cut.

use super::QuarantineError;

/// The longest text, in characters.
pub const LONGEST: usize = 200;

/// What a person wrote, without blanks around it.
///
/// # Errors
/// It is empty, longer than [`LONGEST`], or more than a line.
pub fn line(name: &str, text: &str) -> Result<String, QuarantineError> {
    let text = text.trim();
    let refused = |why: String| Err(QuarantineError::Refused(why));
    if text.is_empty() {
        return refused(format!("--{name} is empty: say it in a line, so that whoever looks later knows"));
    }
    let n = text.chars().count();
    if n > LONGEST {
        return refused(format!("--{name} has {n} characters: {LONGEST} at most; the rest belongs into your notes"));
    }
    if text.chars().any(char::is_control) {
        return refused(format!("--{name} has a line break or a control character: write one line"));
    }
    Ok(text.to_owned())
}

/// What the node saw, as one line that is short enough.
pub fn clip(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(plain).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_that_says_something() {
        assert_eq!(line("why", "  a fire in the data centre ").unwrap(), "a fire in the data centre");
        for bad in ["", "   ", "a\nb", "a\u{1b}[31m", &"é".repeat(201)] {
            assert!(line("why", bad).unwrap_err().to_string().starts_with("--why"), "{bad:?}");
        }
        assert!(line("why", &"é".repeat(200)).is_ok());
        assert_eq!(clip(&format!(" a\nb{}", "x".repeat(900))).chars().count(), 200);
    }
}
