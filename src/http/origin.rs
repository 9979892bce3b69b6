//! Where a request comes from, and how it names this node.

use axum::http::header::{self, HeaderMap};
use std::net::{IpAddr, Ipv6Addr};

/// What a proxy adds; a request with one of them was somebody else's.
const BY_A_PROXY: [&str; 8] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
];

/// Whether a request from a loopback address is one of this machine, as far as its headers tell: it came through no proxy, and it asked for a
/// loopback name (a page of the web whose name leads here asks for its own).
pub fn near(headers: &HeaderMap) -> bool {
    let looped = |name: &str| {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|a| a.to_canonical().is_loopback())
    };
    BY_A_PROXY.iter().all(|h| !headers.contains_key(*h)) && host(headers).is_some_and(|(name, _)| looped(name))
}

/// The name that the request gave the node, and its port with the colon, where there is one; None unless there is one such header of plain
/// characters.
pub fn host(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut all = headers.get_all(header::HOST).iter();
    let value = all.next()?.to_str().ok().filter(|_| all.next().is_none())?;
    let colon = value.rfind(':').filter(|_| !value.ends_with(']'));
    let (name, port) = value.split_at_checked(colon.unwrap_or(value.len()))?;
    let of_name = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    let six = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).is_some_and(|n| n.parse::<Ipv6Addr>().is_ok());
    let plain = (1..=253).contains(&name.len()) && name.bytes().all(of_name);
    let ported =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok() && !p.starts_with('+'));
    ((six || plain) && ported).then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn of(headers: &[(&str, &str)]) -> HeaderMap {
        let all = headers.iter().map(|(k, v)| (k.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap()));
        let mut map = HeaderMap::new();
        for (k, v) in all {
            map.append(k, v);
        }
        map
    }

    #[test]
    fn only_a_request_to_a_loopback_name_through_no_proxy_is_near() {
        for host in ["localhost", "LocalHost:8480", "127.0.0.1:8480", "127.9.9.9", "[::1]:8480", "[::ffff:127.0.0.1]"] {
            assert!(near(&of(&[("host", host)])), "{host}");
            for h in BY_A_PROXY {
                assert!(!near(&of(&[("host", host), (h, "x")])), "{h}");
            }
        }
        for host in ["", "node.example:8480", "localhost.example", "10.0.0.1", "[fe80::1]", "127.0.0.1@x", "0.0.0.0"] {
            assert!(!near(&of(&[("host", host)])), "{host}");
        }
        assert!(!near(&of(&[])) && !near(&of(&[("host", "localhost"), ("host", "localhost")])));
    }

    #[test]
    fn a_name_of_the_node_has_plain_characters_and_at_most_a_port() {
        for (value, name, port) in [("node-1.lan:80", "node-1.lan", ":80"), ("h", "h", ""), ("[::1]:9", "[::1]", ":9")]
        {
            assert_eq!(host(&of(&[("host", value)])), Some((name, port)));
        }
        let bad = [
            "", ":80", "h:", "h:+1", "h:99999", "a/b", "u@h", "h:1:2", "h\"", "a b", "{x}", "[::1", "[]", "::1", "h?x",
        ];
        for value in bad {
            assert_eq!(host(&of(&[("host", value)])), None, "{value}");
        }
    }
}
