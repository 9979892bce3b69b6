//! Option contracts by their OCC symbol: `AAPL240419P00140000` is root, expiry, C or P, strike in thousandths of a dollar.
//! Source: the Options Clearing Corporation's symbology of 2010, without the blanks that pad the root to six.

use chrono::NaiveDate;

/// Contracts of one ask that are followed; an underlier with more on its books is refused rather than cut.
pub(super) const MAX_CONTRACTS: usize = 20_000;

/// Roots under which an index has further series: weeklies and those settled in the afternoon.
const INDEX_ROOTS: [(&str, &str); 5] =
    [("SPX", "SPXW"), ("NDX", "NDXP"), ("RUT", "RUTW"), ("VIX", "VIXW"), ("DJX", "DJXW")];

/// The root of a contract; None where the text is no OCC symbol.
pub(super) fn root(contract: &str) -> Option<&str> {
    let (root, tail) = contract.split_at_checked(contract.len().checked_sub(15)?)?;
    let (date, rest) = tail.split_at_checked(6)?;
    let (side, strike) = rest.split_at_checked(1)?;
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let plain = (1..=6).contains(&root.len()) && root.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let dated = digits(date) && NaiveDate::parse_from_str(&format!("20{date}"), "%Y%m%d").is_ok();
    (plain && dated && digits(strike) && (side == "C" || side == "P")).then_some(root)
}

/// Whether a contract is one of `underlier`: its root is the underlier's symbol without punctuation, or that with the digit
/// of an adjusted series, or a known second root of an index.
pub(super) fn is_of(contract: &str, underlier: &str) -> bool {
    let Some(root) = root(contract) else { return false };
    let plain: String = underlier.chars().filter(char::is_ascii_alphanumeric).collect();
    let adjusted =
        root.strip_prefix(plain.as_str()).is_some_and(|t| t.len() == 1 && t.bytes().all(|b| b.is_ascii_digit()));
    root == plain || adjusted || INDEX_ROOTS.contains(&(plain.as_str(), root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_belongs_to_the_underlier_of_its_root() {
        assert_eq!(root("AAPL240419P00140000"), Some("AAPL"));
        assert!(is_of("AAPL240419P00140000", "AAPL") && is_of("AAPL1240419P00140000", "AAPL"));
        assert!(is_of("BRKB240419C00400000", "BRK.B") && is_of("SPXW240419C05000000", "SPX"));
        assert!(!is_of("AAP240419P00140000", "AAPL") && !is_of("AAPL240419P00140000", "AAP"));
        assert!(!is_of("AAPLX240419P00140000", "AAPL"), "a letter is no adjustment");
        for bad in ["", "AAPL", "AAPL241319P00140000", "AAPL240419X00140000", "../24041 P00140000", "é40419P00140000"]
        {
            assert_eq!(root(bad), None, "{bad}");
        }
    }
}
