//! The values of a row, by kind of dataset.

use std::cmp::Ordering;
use std::sync::Arc;

/// The values of one bar. Prices in dollars, volume in shares (of options: in contracts).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Shares.
    pub volume: f64,
    /// Trades, where the vendor says.
    pub trades: Option<i64>,
    /// Volume-weighted average price, where the vendor says.
    pub vwap: Option<f64>,
}

/// A bar of one option contract.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionBar {
    /// The OCC symbol, for example `AAPL240419P00140000`.
    pub contract: Arc<str>,
    /// Its values; the premium is per share.
    pub bar: Bar,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What a corporate action is: a closed set, to which every vendor's words are mapped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ActionKind { $($(#[$doc])* $variant,)* }

        impl ActionKind {
            /// Every kind, in the order in which the rows of a day stand: that of the names.
            pub const ALL: &'static [ActionKind] = &[$(ActionKind::$variant),*];

            /// The text of the `kind` column.
            pub fn name(self) -> &'static str { match self { $(ActionKind::$variant => $name,)* } }

            /// The kind of a text.
            pub fn from_name(s: &str) -> Option<Self> { match s { $($name => Some(ActionKind::$variant),)* _ => None } }
        }
    };
}

kinds! {
    /// Dividend in cash, special ones too. `cash`: dollars a share, in the shares of the day before.
    Dividend = "dividend";
    /// Bought. `ratio`: shares of the buyer, `cash`: dollars, for each share.
    Merger = "merger";
    /// Another symbol from that day on. No values.
    NameChange = "name_change";
    /// A part of the shares is called. `cash`: dollars a share.
    PartialCall = "partial_call";
    /// Redeemed. `cash`: dollars a share.
    Redemption = "redemption";
    /// Exchanged for several things. `cash`: dollars a share.
    Reorganization = "reorganization";
    /// Rights are given out. `ratio`: rights for each share.
    Rights = "rights";
    /// Another company is given out. `ratio`: its shares for each one held.
    SpinOff = "spin_off";
    /// Forward or reverse split. `ratio`: new shares for each old one (7 for 7:1, 0.02 for 1:50).
    Split = "split";
    /// Dividend in shares. `ratio`: shares after it for each one before (1.05 for 5 %).
    StockDividend = "stock_dividend";
    /// A unit comes apart. `ratio`: shares of the first part for each unit.
    UnitSplit = "unit_split";
    /// Removed as worthless. No values.
    Worthless = "worthless";
}

impl ActionKind {
    /// Whether a row of this kind says nothing without its `ratio`, and without its `cash`.
    pub fn needs(self) -> (bool, bool) {
        match self {
            Self::Split | Self::StockDividend | Self::SpinOff => (true, false),
            Self::Dividend | Self::Redemption => (false, true),
            _ => (false, false),
        }
    }

    /// Whether it happens on a session. Mergers and the like take effect on any day.
    pub fn on_sessions(self) -> bool {
        matches!(self, Self::Split | Self::StockDividend | Self::Dividend)
    }
}

/// One corporate action; what `ratio` and `cash` mean stands with its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Action {
    /// What it is.
    pub kind: ActionKind,
    /// Shares for a share.
    pub ratio: Option<f64>,
    /// Dollars a share.
    pub cash: Option<f64>,
}

impl Action {
    /// The order of two actions of one kind and day: absent values first.
    pub fn values_order(&self, other: &Action) -> Ordering {
        let opt = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        opt(self.ratio, other.ratio).then_with(|| opt(self.cash, other.cash))
    }
}

/// The values of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A bar.
    Bar(Bar),
    /// A value of a series; None = no observation.
    Value(Option<f64>),
    /// A corporate action.
    Action(Action),
    /// A bar of an option; boxed, so that the rows of other datasets do not grow by its contract.
    Option(Box<OptionBar>),
}

impl Cell {
    /// The bar, of a stock or of an option.
    pub fn bar(&self) -> Option<&Bar> {
        match self {
            Cell::Bar(b) => Some(b),
            Cell::Option(o) => Some(&o.bar),
            Cell::Value(_) | Cell::Action(_) => None,
        }
    }

    /// The value of a series.
    pub fn value(&self) -> Option<f64> {
        if let Cell::Value(v) = self { *v } else { None }
    }

    /// The contract of an option's bar; empty for everything else.
    pub fn contract(&self) -> &str {
        if let Cell::Option(o) = self { &o.contract } else { "" }
    }

    /// The action.
    pub fn action(&self) -> Option<&Action> {
        if let Cell::Action(a) = self { Some(a) } else { None }
    }
}

/// Bit-wise equality of values: NaN equals NaN, so that a row is not restated for being compared.
pub fn same_cell(a: &Cell, b: &Cell) -> bool {
    match (a, b) {
        (Cell::Bar(a), Cell::Bar(b)) => same_bar(a, b),
        (Cell::Value(a), Cell::Value(b)) => same(*a, *b),
        (Cell::Action(a), Cell::Action(b)) => a.kind == b.kind && same(a.ratio, b.ratio) && same(a.cash, b.cash),
        (Cell::Option(a), Cell::Option(b)) => a.contract == b.contract && same_bar(&a.bar, &b.bar),
        _ => false,
    }
}

fn eq(x: f64, y: f64) -> bool {
    x.to_bits() == y.to_bits() || x == y
}

fn same(x: Option<f64>, y: Option<f64>) -> bool {
    match (x, y) {
        (Some(x), Some(y)) => eq(x, y),
        (None, None) => true,
        _ => false,
    }
}

fn same_bar(a: &Bar, b: &Bar) -> bool {
    eq(a.open, b.open)
        && eq(a.high, b.high)
        && eq(a.low, b.low)
        && eq(a.close, b.close)
        && eq(a.volume, b.volume)
        && a.trades == b.trades
        && same(a.vwap, b.vwap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_no_larger_than_a_bar_needs() {
        assert!(size_of::<Cell>() <= size_of::<Bar>() + 8, "{}", size_of::<Cell>());
    }

    #[test]
    fn names_of_kinds_lead_back() {
        for k in ActionKind::ALL {
            assert_eq!(ActionKind::from_name(k.name()), Some(*k));
        }
        assert!(ActionKind::ALL.is_sorted_by_key(|k| k.name()), "files are sorted by name");
    }
}
