//! Who is told, and in which form.

use crate::config::Settings;
use crate::failure::Failure;
use crate::secrets;
use datanode_actors::alert::{Message, Posted, Poster, Severity};
use datanode_schema::clock::rfc3339_of;
use serde_json::json;
use zeroize::Zeroizing;

/// A receiver of alerts.
pub struct Receiver {
    /// `webhook` or `ntfy`.
    pub name: &'static str,
    url: Zeroizing<String>,
}

/// All that are configured.
pub struct Receivers {
    /// Who is told.
    pub told: Vec<Receiver>,
    /// Who is asked after each good night.
    pub dead_man: Option<Zeroizing<String>>,
}

impl Receivers {
    /// Of the settings; the references are resolved.
    ///
    /// # Errors
    /// 2: a reference that leads to nothing, or to what is no address.
    pub fn of(settings: &Settings) -> Result<Self, Failure> {
        let a = &settings.alerts;
        let url = |name: &str, reference: &str| -> Result<Option<Zeroizing<String>>, Failure> {
            let field = format!("alerts.{name}");
            let url = secrets::resolve(&field, reference).map_err(Failure::usage)?;
            match url.as_str() {
                "" => Ok(None),
                u if u.starts_with("https://") || u.starts_with("http://") => Ok(Some(url)),
                // What it is instead is not repeated: it may be a key in the wrong place.
                _ => Err(Failure::usage(format!(
                    "{field}: what the reference leads to is no http:// or https:// address; put the whole address there"
                ))),
            }
        };
        let mut told = Vec::new();
        for (name, reference) in [("webhook", &a.webhook), ("ntfy", &a.ntfy)] {
            told.extend(url(name, reference)?.map(|url| Receiver { name, url }));
        }
        Ok(Self { told, dead_man: url("dead_man", &a.dead_man)? })
    }
}

impl Receiver {
    /// Sends a message from the node called `node`.
    pub async fn send(&self, poster: &Poster, node: &str, m: &Message) -> Posted {
        if self.name == "ntfy" {
            let title = ascii(&format!("datanode {node}: {} ({})", m.kind, word(m.severity)));
            let (priority, tags) = match m.severity {
                Severity::Critical => ("5", "rotating_light"),
                Severity::Warning => ("4", "warning"),
                Severity::Info => ("3", "information_source"),
                Severity::Resolved => ("2", "white_check_mark"),
            };
            let body = format!("{}\nsince {}\n{}\n", m.summary, rfc3339_of(m.since), m.next_command);
            let headers = [("Title", title.as_str()), ("Priority", priority), ("Tags", tags)];
            return poster.send(&self.url, &headers, Some(body.into_bytes())).await;
        }
        let body = json!({
            "node": node, "kind": m.kind, "key": m.key, "severity": m.severity, "summary": m.summary,
            "since": rfc3339_of(m.since), "next_command": m.next_command,
        });
        poster.send(&self.url, &[("Content-Type", "application/json")], Some(body.to_string().into_bytes())).await
    }
}

/// A message that says that messages arrive.
pub fn trial(now: i64) -> Message {
    Message {
        key: "test".to_owned(),
        kind: "test".to_owned(),
        severity: Severity::Info,
        summary: "this is a test: messages of this node arrive here".to_owned(),
        since: now,
        next_command: "datanode-admin status".to_owned(),
    }
}

fn word(s: Severity) -> &'static str {
    match s {
        Severity::Resolved => "resolved",
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// A header holds nothing else.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
