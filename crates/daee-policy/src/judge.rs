use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use crate::{Denial, Line, Permission, Policy, address::is_public};

impl Policy {
    /// Judges a URL in the order of DESIGN 7: parsed once, https, a name, on the list.
    pub fn url(&self, text: &str) -> Result<Permit, Denial> {
        let wrong = |why| Denial::Url { url: text.chars().take(120).collect(), why };
        // The WHATWG parser drops these silently, so what is shown and what is fetched would differ.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("it holds spaces or control characters"));
        }
        // It reads a backslash as a slash; other readers take it for part of a user name or host.
        if text.contains('\\') {
            return Err(wrong("it holds a backslash"));
        }
        let url = Url::parse(text).map_err(|_| wrong("it is not a URL"))?;
        if url.scheme() != "https" {
            return Err(wrong("only https is spoken"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it holds a user name or password: send a header instead"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.strip_suffix('.').unwrap_or(name).to_owned(),
            Some(_) => return Err(wrong("its host is an address: a name is needed")),
            None => return Err(wrong("it has no host")),
        };
        let port = url.port().unwrap_or(443);
        let by = self.permissions.iter().find_map(|(permission, line)| match permission {
            Permission::NetworkOutbound { host: pattern, port: open }
                if pattern.matches(&host) && *open == port =>
            {
                Some(Line { permission: permission.to_string(), number: *line })
            }
            _ => None,
        });
        let Some(by) = by else {
            let suffix = if port == 443 { String::new() } else { format!(":{port}") };
            let needs = format!("network_outbound:{host}{suffix}");
            return Err(match needs.parse::<Permission>() {
                Ok(_) => Denial::NotListed { needs },
                Err(_) => wrong("its host is not a name that a permission can list"),
            });
        };
        Ok(Permit { url, host, port, by })
    }
}

/// A URL whose host the manifest lists; nothing was resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    url: Url,
    host: String,
    port: u16,
    by: Line,
}

impl Permit {
    /// The name, lower case, without trailing dot: what TLS and the Host header must say.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as a request line has them.
    pub fn target(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// Judges every address the host resolved to. One bad address spoils the name: a resolver that
    /// mixes public and private answers is an attack or a mistake.
    pub fn judge(&self, resolved: &[IpAddr], own: &[IpAddr]) -> Result<Grant, Denial> {
        let (host, by) = (self.host.clone(), self.by.clone());
        if resolved.is_empty() {
            return Err(Denial::NoAddress(host));
        }
        for address in resolved {
            if !is_public(*address) {
                return Err(Denial::NotPublic { host, address: *address, by });
            }
            if own.contains(address) {
                return Err(Denial::OwnAddress { host, address: *address, by });
            }
        }
        let addresses = resolved.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect();
        Ok(Grant { host, addresses })
    }

    /// The grant for a name that the operator of a development network sends to an address of this
    /// machine. The operator's word replaces the judgement, so callers must have it in writing.
    pub fn mapped(&self, to: SocketAddr) -> Grant {
        Grant { host: self.host.clone(), addresses: vec![to] }
    }
}

/// The right to dial these addresses as this host, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Grant {
    /// The name for TLS and the Host header.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The judged addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

#[cfg(test)]
mod tests {
    use daee_types::Coded;

    use super::*;

    fn policy() -> Policy {
        let lines = [
            "network_outbound:api.coingecko.com",
            "network_outbound:*.example.org",
            "network_outbound:alt.example.net:8443",
        ];
        Policy::new(lines.into_iter().zip(1..).map(|(l, n)| (l.parse().unwrap(), n)).collect())
    }

    fn check(url: &str, resolved: &str, expected: Result<&str, &str>) {
        let own = ["203.0.114.7".parse().unwrap()];
        let judged = policy().url(url).and_then(|permit| {
            let resolved: Vec<IpAddr> =
                resolved.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
            permit.judge(&resolved, &own)
        });
        let shown = judged.as_ref().map(|g| g.addresses()[0].to_string()).map_err(Coded::code);
        assert_eq!(shown.as_deref().map_err(|e| *e), expected, "{url} -> {resolved}");
    }

    #[test]
    fn a_listed_host_is_dialled_at_the_judged_address() {
        check("https://api.coingecko.com/x?y=1", "1.1.1.1", Ok("1.1.1.1:443"));
        check("https://API.CoinGecko.com:443/", "1.1.1.1 8.8.8.8", Ok("1.1.1.1:443"));
        check("https://a.b.example.org/", "2606:4700::1", Ok("[2606:4700::1]:443"));
        check("https://alt.example.net:8443/", "1.1.1.1", Ok("1.1.1.1:8443"));
    }

    #[test]
    fn a_listed_host_never_leads_into_the_nodes_own_network() {
        for address in [
            "10.0.0.7",
            "127.0.0.1",
            "169.254.169.254",
            "::ffff:10.0.0.7",
            "::1",
            "fd00::1",
            "1.1.1.1 192.168.0.1",
            "64:ff9b::a00:7",
        ] {
            check("https://api.coingecko.com/", address, Err("DAEE-P002"));
        }
        check("https://api.coingecko.com/", "203.0.114.7", Err("DAEE-P003"));
        check("https://api.coingecko.com/", "", Err("DAEE-P004"));
    }

    #[test]
    fn what_is_not_listed_is_denied_with_the_line_that_would_allow_it() {
        for (url, needs) in [
            ("https://coingecko.com/", "network_outbound:coingecko.com"),
            ("https://api.coingecko.com.evil.net/", "network_outbound:api.coingecko.com.evil.net"),
            ("https://api.coingecko.com:444/", "network_outbound:api.coingecko.com:444"),
            ("https://example.org/", "network_outbound:example.org"),
            ("https://alt.example.net/", "network_outbound:alt.example.net"),
        ] {
            assert_eq!(policy().url(url).unwrap_err().needs(), Some(needs), "{url}");
        }
        assert_eq!(policy().read_ipfs().unwrap_err().needs(), Some("read_ipfs"));
        assert_eq!(policy().publish().unwrap_err().needs(), Some("publish_to_chain"));
    }

    #[test]
    fn urls_that_say_one_thing_and_mean_another_are_refused() {
        for url in [
            "http://api.coingecko.com/",
            "ftp://api.coingecko.com/",
            "https://user@api.coingecko.com/",
            "https://user:pass@api.coingecko.com/",
            "https://api.coin\tgecko.com/",
            "https://api.coingecko.com/a b",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://127.0.0.1./",
            "https://1.1.1.1/",
            "https://localhost/",
            "https://metadata/",
            "https://_dmarc.example.net/",
            "https://api.coingecko.com../",
            "https://evil.net\\@api.coingecko.com/",
            "https:\\\\api.coingecko.com/",
            "https:///",
            "data:text/plain,x",
            "file:///etc/passwd",
            "//api.coingecko.com/",
            "api.coingecko.com",
            "",
        ] {
            check(url, "1.1.1.1", Err("DAEE-P005"));
        }
    }

    #[test]
    fn names_are_compared_as_they_are_dialled() {
        for url in [
            "https://API.COINGECKO.COM/",
            "https://api%2ecoingecko.com/",
            "https://\u{ff41}pi.coingecko\u{3002}com/",
            "https://@api.coingecko.com/",
            "https:api.coingecko.com/",
        ] {
            assert_eq!(policy().url(url).unwrap().host(), "api.coingecko.com", "{url}");
        }
        let cyrillic = policy().url("https://api.c\u{43e}ingecko.com/").unwrap_err();
        assert_eq!(cyrillic.needs(), Some("network_outbound:api.xn--cingecko-nbh.com"));
    }

    #[test]
    fn the_request_line_holds_path_and_query_and_no_more() {
        let target = |url: &str| policy().url(url).unwrap().target();
        assert_eq!(target("https://api.coingecko.com"), "/");
        assert_eq!(target("https://api.coingecko.com/a/../b?c=d&e#f"), "/b?c=d&e");
        assert_eq!(target("https://api.coingecko.com/\u{e4}?\u{e4}"), "/%C3%A4?%C3%A4");
    }

    #[test]
    fn an_address_is_denied_with_the_line_that_permits_its_name() {
        let denied = |number| {
            let line = "network_outbound:api.example.org".parse().unwrap();
            let permit = Policy::new(vec![(line, number)]).url("https://api.example.org").unwrap();
            permit.judge(&["10.0.0.7".parse().unwrap()], &[]).unwrap_err().to_string()
        };
        let by = "api.example.org is permitted by \"network_outbound:api.example.org\"";
        let but = "but resolves to 10.0.0.7, which is not a public address";
        assert_eq!(denied(14), format!("{by} (line 14 of agent.yaml), {but}"));
        assert_eq!(denied(0), format!("{by}, {but}"));
    }

    #[test]
    fn an_address_permission_opens_no_name_and_no_address() {
        let line = "network_outbound_ip:1.1.1.0/24:443".parse().unwrap();
        let policy = Policy::new(vec![(line, 1)]);
        assert_eq!(policy.url("https://1.1.1.1/").unwrap_err().code(), "DAEE-P005");
        assert_eq!(policy.url("https://one.one.one.one/").unwrap_err().code(), "DAEE-P001");
    }

    #[test]
    fn nothing_listed_means_nothing_allowed() {
        let none = Policy::default();
        assert_eq!(none.url("https://example.org/").unwrap_err().code(), "DAEE-P001");
        assert_eq!(none.read_ipfs().unwrap_err().code(), "DAEE-P001");
        assert_eq!(none.publish().unwrap_err().code(), "DAEE-P001");
    }

    #[test]
    fn a_mapping_replaces_the_address_and_not_the_name() {
        let permit = policy().url("https://api.coingecko.com/").unwrap();
        let grant = permit.mapped("127.0.0.1:4443".parse().unwrap());
        assert_eq!(grant.host(), "api.coingecko.com");
        assert_eq!(grant.addresses(), ["127.0.0.1:4443".parse().unwrap()]);
    }

    proptest::proptest! {
        /// However a URL is bent, what is dialled is a listed name.
        #[test]
        fn no_url_leads_to_a_host_that_is_not_listed(before in "[ -~]{0,12}", after in "[ -~]{0,12}") {
            let url = format!("https://{before}api.coingecko.com{after}");
            if let Ok(permit) = policy().url(&url) {
                let listed = permit.host() == "api.coingecko.com";
                let below = permit.host().ends_with(".example.org");
                proptest::prop_assert!(listed || below, "{url} leads to {}", permit.host());
                proptest::prop_assert_eq!(permit.port(), 443);
            }
        }

        #[test]
        fn no_text_makes_the_judge_panic(url in "\\PC{0,60}") {
            let _ = policy().url(&url).map(|permit| permit.judge(&[], &[]));
        }
    }

    #[test]
    fn a_trailing_dot_is_the_same_name() {
        let permit = policy().url("https://api.coingecko.com./").unwrap();
        assert_eq!(permit.host(), "api.coingecko.com");
    }
}
