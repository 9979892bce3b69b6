//! The figures of a scenario.

use crate::Once;
use crate::figure::{Figure, print};
use serde_json::Value;

/// Prints the node's figures, the peer's, and what the one is in terms of the other.
pub fn tell(scenario: &str, ours: &[Once], theirs: &[Once]) {
    let part = format!("chaos: {scenario}");
    for (who, all) in [("node", ours), ("dlt", theirs)] {
        let Some(last) = all.last() else { continue };
        let say = |what: &str, unit: &str, f: &dyn Fn(&Once) -> f64, note: String| {
            let samples: Vec<f64> = all.iter().map(f).collect();
            print(Figure::of(&part, &format!("{who}: {what}"), unit, &samples).map(|x| x.note(note)));
        };
        let checked = format!(
            "{} of {} bars, each once and unchanged; {}",
            Once::kept(last),
            number(&last.rows, "expected"),
            last.note
        );
        say("rows a second", "rows/s", &Once::rate, checked);
        say("CPU of a million rows", "CPU-s", &Once::cpu, "user and kernel, the simulator's not in it".to_owned());
        say("peak memory", "MB", &|o| o.used.peak_kib as f64 * 1024.0 / 1e6, "resident".to_owned());
        for what in ["missing", "twice", "strange", "different"] {
            say(&format!("bars {what}"), "bars", &|o| number(&o.rows, what), String::new());
        }
        say("requests", "requests", &|o| number(&o.stats, "requests"), faults(&last.stats));
        say(
            "asked in vain",
            "%",
            &Once::in_vain,
            "good answers without a bar that was not given out before".to_owned(),
        );
        say("beyond the limits", "requests", &|o| sum(&o.stats, "rate_limit_violations"), "server's count".to_owned());
        say("CPU of the simulator", "CPU-s", &|o| o.sim_cpu, "another process on the same cores".to_owned());
    }
    let ratio = |what: &str, f: &dyn Fn(&Once) -> f64| {
        let pairs: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| f(a) / f(b).max(1e-9)).collect();
        print(Figure::of(&part, what, "", &pairs).map(|x| x.note("of the same repetition")));
    };
    ratio("rows a second, node ÷ dlt", &Once::rate);
    ratio("CPU of a million rows, node ÷ dlt", &Once::cpu);
    ratio("peak memory, node ÷ dlt", &|o| o.used.peak_kib as f64);
}

impl Once {
    /// Bars that are there, once and unchanged.
    fn kept(&self) -> f64 {
        let n = |what: &str| number(&self.rows, what);
        n("rows") - n("twice") - n("strange") - n("different")
    }
    fn rate(&self) -> f64 {
        self.kept() / self.used.wall
    }
    fn cpu(&self) -> f64 {
        (self.used.user + self.used.sys) * 1e6 / self.kept().max(1.0)
    }
    fn in_vain(&self) -> f64 {
        100.0 * sum(&self.stats, "in_vain") / number(&self.stats, "requests").max(1.0)
    }
}

fn number(of: &Value, name: &str) -> f64 {
    of.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Of all vendors.
fn sum(stats: &Value, name: &str) -> f64 {
    let vendors = stats.get("vendors").and_then(Value::as_object).into_iter().flatten();
    vendors.map(|(_, v)| number(v, name)).sum()
}

/// `alpaca: 91 requests (4 status_429, 2 timeout), massive: …`.
fn faults(stats: &Value) -> String {
    let vendors = stats.get("vendors").and_then(Value::as_object).into_iter().flatten();
    let asked = vendors.filter(|(_, v)| number(v, "requests") > 0.0);
    let words = asked.map(|(name, v)| {
        let kinds = stats.get("faults_by_kind").and_then(|k| k.get(name)).and_then(Value::as_object);
        let mut kinds: Vec<String> = kinds.into_iter().flatten().map(|(kind, n)| format!("{n} {kind}")).collect();
        if number(v, "not_entitled") > 0.0 {
            kinds.push(format!("{} not entitled", number(v, "not_entitled")));
        }
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        format!("{name} {}{kinds}", number(v, "requests"))
    });
    words.collect::<Vec<_>>().join("; ")
}
