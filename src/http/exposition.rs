//! The text form of Prometheus, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

/// A page that is being written. Families are written whole, one after the other, as the format wants them.
#[derive(Default)]
pub struct Page(String);

/// Labels of a sample: name and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The samples of one metric.
pub struct Family<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Page {
    /// A metric that only grows; its name ends in `_total`.
    pub fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "counter", help)
    }

    /// A metric that goes up and down.
    pub fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }

    /// Observations in buckets.
    pub fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "histogram", help)
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: &mut self.0, name }
    }

    /// The text.
    pub fn text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// The one sample without labels.
    pub fn is(mut self, value: f64) {
        self.line("", &[], value);
    }

    /// A sample where there is a value, none where there is not.
    pub fn may_be(mut self, value: Option<f64>) {
        if let Some(v) = value {
            self.line("", &[], v);
        }
    }

    /// A sample with labels.
    pub fn of(&mut self, labels: Labels<'_>, value: f64) {
        self.line("", labels, value);
    }

    /// A histogram: the counts of each bucket by itself, one more than there are bounds.
    pub fn buckets(&mut self, labels: Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut so_far = 0;
        for (i, n) in counts.iter().enumerate() {
            so_far += n;
            let le = bounds.get(i).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let with: Vec<(&str, &str)> = labels.iter().copied().chain([("le", le.as_str())]).collect();
            self.line("_bucket", &with, so_far as f64);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, so_far as f64);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: f64) {
        let _ = write!(self.page, "{}{suffix}", self.name);
        for (i, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.page, "{}{name}=\"{}\"", if i == 0 { '{' } else { ',' }, escaped(value));
        }
        let _ = writeln!(self.page, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_large_numbers_are_whole() {
        let mut p = Page::default();
        p.gauge("a_bytes", "Two\nlines.").of(&[("x", "a\"b\\c\nd"), ("y", "")], 18_014_398_509_481_984.0);
        p.gauge("b", "None.").may_be(None);
        let want = "# HELP a_bytes Two\\nlines.\n# TYPE a_bytes gauge\na_bytes{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 18014398509481984\n\
                    # HELP b None.\n# TYPE b gauge\n";
        assert_eq!(p.text(), want);
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let mut p = Page::default();
        p.histogram("h_seconds", "H.").buckets(&[("v", "a")], &[0.5, 1.0], &[1, 2, 3], 9.5);
        let lines: Vec<String> = p.text().lines().skip(2).map(str::to_owned).collect();
        let want = [
            "h_seconds_bucket{v=\"a\",le=\"0.5\"} 1",
            "h_seconds_bucket{v=\"a\",le=\"1\"} 3",
            "h_seconds_bucket{v=\"a\",le=\"+Inf\"} 6",
            "h_seconds_sum{v=\"a\"} 9.5",
            "h_seconds_count{v=\"a\"} 6",
        ];
        assert_eq!(lines, want);
    }
}
